"""Variational autoencoders that take PCA's place in a scikit-learn pipeline."""

from importlib import import_module

__version__ = "0.1.0"
__all__ = [
    "RhoVAETransformer",
    "VAEImputer",
    "VAEOutlierDetector",
    "VAETransformer",
    "__version__",
]


def __getattr__(name):
    """Load the estimators, and torch with them, when one is first asked for (PEP 562)."""
    if name in __all__:
        return getattr(import_module("._vae", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
