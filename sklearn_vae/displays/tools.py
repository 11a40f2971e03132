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


def image_shape_of(image_shape, model, n_columns):
    """The shape of an image: the one given, else the model's, if a row makes up such an image."""
    own = getattr(model, "image_shape", None)
    if image_shape is None and own is not None and np.prod(own) == n_columns:
        return tuple(own)
    return image_shape


def images_of(rows, image_shape, display, in_colour=True):
    """Rows (n, n_columns) as images: (n, height, width), or (n, height, width, 3) in colour.

    In colour three channels are red, green and blue. Elsewhere each channel stands below the one
    before it.

    Raises
    ------
    ValueError
        If the numbers of a row do not make up an image of this shape.
    """
    if len(image_shape) not in (2, 3) or np.prod(image_shape) != rows.shape[1]:
        raise ValueError(
            f"{display.__name__} takes image_shape=(height, width) or (channels, height, width), "
            f"for the {rows.shape[1]} numbers of a row; got {tuple(image_shape)}."
        )
    *channels, height, width = image_shape
    if in_colour and channels == [3]:
        return np.moveaxis(rows.reshape(-1, 3, height, width), 1, -1)
    return rows.reshape(len(rows), -1, width)


def colours_of(image, low, high):
    """Colours of an image (height, width, 3) for ``Axes.imshow``, NaN in white.

    An image (height, width) without colours stays as it is. Values in [0, 1] are colours as they
    are. Others are stretched from [low, high] to [0, 1].
    """
    if image.ndim == 2:
        return image
    low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    colours = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    return np.nan_to_num(colours, nan=1.0)


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
    """Images (n, height, width) or (n, height, width, 3) side by side, as one image.

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
