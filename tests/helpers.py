"""What several test files use."""

import numpy as np

from sklearn_vae import RhoVAETransformer, VAETransformer

ESTIMATOR_OF = {
    covariance_type: Estimator
    for Estimator in (VAETransformer, RhoVAETransformer)
    for covariance_type in sorted(Estimator._parameter_constraints["covariance_type"][0].options)
}
STAGES = ["first start", "second start", "second start, noise learned", "smaller steps", "refit"]


def built(family, n_features):
    """A likelihood of a family, for so many features that were not scaled."""
    return family().build(np.ones(n_features))
