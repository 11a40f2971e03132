"""What a user sees of the package: two estimators, and an imputer around them."""

from .imputer import VAEImputer
from .transformers import RhoVAETransformer, VAETransformer

__all__ = ["RhoVAETransformer", "VAEImputer", "VAETransformer"]
