"""What a user sees of the package: two estimators, an imputer and an outlier detector."""

from .imputer import VAEImputer
from .outliers import VAEOutlierDetector
from .transformers import RhoVAETransformer, VAETransformer

__all__ = ["RhoVAETransformer", "VAEImputer", "VAEOutlierDetector", "VAETransformer"]
