"""Plots of fitted models, in scikit-learn's manner.

A display holds arrays. ``from_estimator`` computes them and draws, ``plot`` draws again. matplotlib
is needed only then (``pip install sklearn-vae[plot]``).

* `training.py`: `LossCurveDisplay`.
* `components.py`: `ExplainedVarianceDisplay`, `LoadingsDisplay`.
* `latent.py`: `LatentSpaceDisplay`, `LatentTraversalDisplay`, `PosteriorCovarianceDisplay`.
* `rebuilt.py`: `ReconstructionDisplay`.
* `tools.py`: what they share.
"""

from .components import ExplainedVarianceDisplay, LoadingsDisplay
from .latent import LatentSpaceDisplay, LatentTraversalDisplay, PosteriorCovarianceDisplay
from .rebuilt import ReconstructionDisplay
from .training import LossCurveDisplay

__all__ = [
    "ExplainedVarianceDisplay",
    "LatentSpaceDisplay",
    "LatentTraversalDisplay",
    "LoadingsDisplay",
    "LossCurveDisplay",
    "PosteriorCovarianceDisplay",
    "ReconstructionDisplay",
]
