"""What a fit asks of its parameters, and what it tells of its result."""

import warnings
from numbers import Integral

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from ..likelihoods.scaling import vary
from ..parts import Part
from ..posteriors import Posterior
from ..training import VAENet
from .data import chunks, widened

ARCHITECTURE = (
    "n_components",
    "hidden_layer_sizes",
    "activation",
    "encoder",
    "decoder",
    "image_shape",
    "n_filters",
    "likelihood",
    "covariance_type",
)


def check_not_empty(model, X):
    """Refuse rows of which every value is missing."""
    if all(np.isnan(X[rows]).all() for rows in chunks(X)):
        raise ValueError(
            f"{type(model).__name__} begins with rows in which something is known, but all "
            f"{X.shape[0]} x {X.shape[1]} values of X are missing (NaN). Leave out columns "
            "without values, and begin with rows that have some."
        )


def check_scale(model, columns):
    """Refuse columns whose variance float64 cannot hold; constant ones are left out."""
    lowest, highest = columns.lowest, columns.highest
    with np.errstate(over="ignore", under="ignore"):
        is_tiny = (model.scale_ == 0) & ((highest - lowest) ** 2 < np.finfo(np.float64).tiny)
    lost = np.flatnonzero(vary(lowest, highest) & (is_tiny | ~np.isfinite(model.scale_)))
    if len(lost):
        raise ValueError(
            f"Column {model._feature_names()[lost[0]]!r} of X has values of which the variance is "
            f"too large or too small for dtype('float64') ({len(lost)} such columns). Take its "
            "logarithm, or multiply it by a constant."
        )


def warn_of_collapse(model):
    """Say that most components tell nothing of a sample."""
    d = model.n_components
    if 2 * model.n_active_components_ < d:
        warnings.warn(
            f"Only {model.n_active_components_} of {d} components of {type(model).__name__} "
            "are active: the others tell nothing of a sample. Ask for fewer components, train "
            "longer, or give an objective with a lower beta, a kl_warmup or free_bits, such as "
            "objective=ELBO(kl_warmup=50); kl_per_component_ says what each of them tells.",
            UserWarning,
            stacklevel=4,
        )


def warn_of_no_upper_bound(model):
    """Say that the score of a fitted model means nothing for other data."""
    if model.net_.module_.likelihood.has_no_upper_bound():
        warnings.warn(
            f"The likelihood of these data has no upper bound: {model.n_components} components "
            f"of {type(model).__name__} rebuild them but for rounding, and the learned noise "
            "variance is next to nothing. The score tells nothing of other data. Ask for "
            "fewer components, give more rows, leave out columns that follow from others, or "
            "fix the noise, as in likelihood=Gaussian(noise_variance=0.01).",
            UserWarning,
            stacklevel=4,
        )


def warn_of_columns_left_out(model, X):
    """Say that rows have values in columns that were constant or empty when the model began."""
    out = np.flatnonzero(model.scale_ == 0)
    if not len(out):
        return
    before = model.mean_[out]
    bounds = before, before
    for rows in chunks(X):
        bounds = widened(bounds, X[rows][:, out])
    is_new = np.isnan(before) & ~np.isnan(bounds[0]) | vary(*bounds)
    if is_new.any():
        names = model._feature_names()
        few = ", ".join(str(names[j]) for j in out[is_new][:5])
        warnings.warn(
            f"{type(model).__name__} goes on without the column(s) {few}"
            f"{', ...' if is_new.sum() > 5 else ''}, which had one value or none when it began. "
            "They have others now, and these are ignored. Begin anew with rows in which they "
            "vary.",
            UserWarning,
            stacklevel=4,
        )


def warn_of_early_end(model, still_improving):
    """Say that a limit or Ctrl-C ended a fit before its time; a callback's author knows."""
    name, ended_by = type(model).__name__, model.net_.ended_by_
    limit = ended_by or ("max_iter" if still_improving else None)
    if limit in ("max_iter", "max_time"):
        message = (
            f"{name}.fit was still improving when {limit}={getattr(model, limit)} ended it. "
            f"Raise {limit} to train longer."
        )
    elif limit == "Ctrl-C":
        message = (
            f"{name}.fit was ended by Ctrl-C. The model is the best so far. Set warm_start=True "
            "and call fit to train on."
        )
    else:
        return
    warnings.warn(message, ConvergenceWarning, stacklevel=4)


def check_parameters(model):
    """What `_parameter_constraints` cannot say."""
    sizes = model.hidden_layer_sizes
    if not all(isinstance(size, Integral) and size >= 1 for size in sizes):
        raise ValueError(
            "hidden_layer_sizes takes positive integers, one per hidden layer, or (); got "
            f"{sizes!r}."
        )
    if model.image_shape is not None:
        check_image(model)
    for name in ("likelihood", "objective"):
        part = getattr(model, name)
        try:
            if isinstance(part, Part):
                part.check()
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    posterior = model.covariance_type
    if isinstance(posterior, type) and not issubclass(posterior, Posterior):
        raise ValueError(
            "covariance_type takes a name or a subclass of sklearn_vae.posteriors.Posterior; "
            f"got {posterior!r}."
        )
    if model.net_class is not None and not issubclass(model.net_class, VAENet):
        raise ValueError(
            f"net_class takes a subclass of sklearn_vae.training.VAENet; got {model.net_class!r}."
        )
    for name in ("encoder", "decoder"):
        if isinstance(getattr(model, name), torch.nn.Module):
            raise ValueError(
                f"{name} takes a factory f(n_in, n_out) that returns a torch.nn.Module, so "
                "that each fit has a network of its own; got the module "
                f"{getattr(model, name)!r}. Give a function that makes it."
            )


def check_image(model):
    """Whether the shape of an image and the numbers of filters are such."""
    shape, filters = model.image_shape, model.n_filters
    if len(shape) not in (2, 3) or not all(isinstance(k, Integral) and k >= 1 for k in shape):
        raise ValueError(
            "image_shape takes (height, width) or (channels, height, width), positive integers; "
            f"got {shape!r}."
        )
    if not len(filters) or not all(isinstance(k, Integral) and k >= 1 for k in filters):
        raise ValueError(
            "n_filters takes positive integers, one or more, for as many convolutions; got "
            f"{filters!r}. For a network without convolutions leave image_shape=None."
        )


def check_same_architecture(model):
    changed = [name for name in ARCHITECTURE if not _alike(getattr(model, name), model._spec[name])]
    if changed:
        raise ValueError(
            f"{type(model).__name__} cannot go on training with another {', '.join(changed)}: "
            "the fitted net does not fit. Set warm_start=False and call fit to start afresh, "
            "or put back the values of the last fit."
        )


def _alike(one, other):
    """Whether two values of a parameter mean the same."""
    if isinstance(one, Part):
        return type(one) is type(other) and one.get_params() == other.get_params()
    return one == other
