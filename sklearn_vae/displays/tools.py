"""What the displays share: a pipeline's parts, names of columns, axes and mosaics of images."""

from importlib import import_module

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

MOST_CLASSES = 20  # distinct values of y with a legend; more have a colour bar


def parts_of(estimator, display, *needed):
    """What transforms X before the model (None if nothing does), and the model.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Of a pipeline the last step is the model.
    display : type
        Whose ``from_estimator`` was called.
    *needed : str
        Methods and attributes that the model must have.

    Raises
    ------
    TypeError
        If it lacks one of them.
    """
    before, model = None, estimator
    if isinstance(estimator, Pipeline):
        model = estimator[-1]
        before = estimator[:-1] if len(estimator) > 1 else None
    check_is_fitted(model)
    missing = [name for name in needed if not hasattr(model, name)]
    if missing:
        raise TypeError(
            f"{display.__name__}.from_estimator needs {', '.join(missing)}, which a fitted "
            f"{type(model).__name__} does not have. Give a fitted VAETransformer or "
            "RhoVAETransformer, or a pipeline that ends with one, such as pipeline[:-1]. A model "
            "saved by an older version has to be fitted again."
        )
    return before, model


def before_model(before, X):
    """X as the model of a pipeline sees it."""
    return X if before is None else before.transform(X)


def in_units_of_X(before, X):
    """What a model gives, as the pipeline was given it; as it is where steps have no inverse."""
    return before.inverse_transform(X) if hasattr(before, "inverse_transform") else X


def column_names(before, model, n):
    """Names of the n columns that a model sees: its own, or those that the steps before it give."""
    if before is not None and not hasattr(model, "feature_names_in_"):
        try:
            names = before.get_feature_names_out()
        except (AttributeError, ValueError):
            names = []
        if len(names) == n:
            return np.asarray(names, dtype=object)
    names = getattr(model, "column_names_", getattr(model, "feature_names_in_", []))
    return np.asarray(names if len(names) == n else [f"x{j}" for j in range(n)], dtype=object)


def check_components(components, n_components, display):
    """One or two numbers of components, of those that there are.

    Raises
    ------
    ValueError
        If there is no such component.
    """
    components = tuple(np.atleast_1d(components).tolist())[: max(n_components, 1)]
    if not 1 <= len(components) <= 2 or not all(0 <= c < n_components for c in components):
        raise ValueError(
            f"{display.__name__} shows one or two components, numbered from 0 to "
            f"{n_components - 1}; got components={components}."
        )
    return components


def check_image_shape(image_shape, n_columns, display):
    """Whether the numbers of a row make up an image of this shape, if one is given.

    Raises
    ------
    ValueError
        If a row of X does not have as many numbers.
    """
    if image_shape is not None and np.prod(image_shape) != n_columns:
        raise ValueError(
            f"{display.__name__}: image_shape={tuple(image_shape)} takes {np.prod(image_shape)} "
            f"numbers, but a row has {n_columns}."
        )


def axes_for(ax, display, **figure):
    """The axes given, or those of a new figure.

    Raises
    ------
    ImportError
        If matplotlib is not there.
    """
    try:
        pyplot = import_module("matplotlib.pyplot")
    except ImportError as error:
        raise ImportError(
            f"{display.__name__}.plot needs matplotlib: pip install matplotlib."
        ) from error
    return pyplot.subplots(layout="constrained", **figure)[1] if ax is None else ax


def classes_of(y):
    """Pairs of a label and the mask of its rows; None where y holds numbers, not classes."""
    if y is None:
        return [(None, slice(None))]
    y = np.asarray(y)
    values = np.unique(y)
    is_fraction = y.dtype.kind == "f" and (values != np.round(values)).any()
    if is_fraction or len(values) > MOST_CLASSES:
        return None
    return [(str(value), y == value) for value in values]


def name_of(y):
    """What a legend calls y: its own name, if it has one."""
    return str(getattr(y, "name", None) or "y")


def colours_for(n):
    """A colour for each of n classes, (n, 4)."""
    return import_module("matplotlib").colormaps["tab10" if n <= 10 else "tab20"](np.arange(n))


def mosaic(images, n_columns, gap=1):
    """Images (n, height, width) or (n, height, width, channels) side by side, as one image.

    NaN between them.
    """
    n, height, width, *channels = images.shape
    n_rows = -(-n // n_columns)
    size = n_rows * (height + gap) - gap, n_columns * (width + gap) - gap
    out = np.full((*size, *channels), np.nan)
    for i, image in enumerate(images):
        top, left = i // n_columns * (height + gap), i % n_columns * (width + gap)
        out[top : top + height, left : left + width] = image
    return out


def centres(n, length, gap=1):
    """Where the middle of each image of a mosaic is."""
    return np.arange(n) * (length + gap) + (length - 1) / 2
