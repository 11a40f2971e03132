"""Rows beside what the model rebuilds of them."""

import numpy as np

from .tools import (
    axes_for,
    before_model,
    centres,
    colours_of,
    column_names,
    image_shape_of,
    images_of,
    in_units_of_X,
    mosaic,
    parts_of,
)

MOST_COLUMNS = 40


class ReconstructionDisplay:
    """Rows of X beside their reconstructions.

    It is made by :meth:`from_estimator`. Images stand above what is rebuilt of them. Of a table
    each cell says ``value → rebuilt``. Its colour is the difference in standard deviations of the
    column, or 1 for another category.

    Parameters
    ----------
    X, X_reconstructed : array-like of shape (n_samples, n_columns)
        Rows, and what the model makes of them.
    deviation : array-like of shape (n_columns,), default=None
        What differences are divided by for the colours: the standard deviation of each column.
    column_names : array-like of str of shape (n_columns,), default=None
        Names of the columns.
    row_names : array-like of shape (n_samples,), default=None
        Names of the rows.

    image_shape : tuple of int, default=None
        If the rows are images: their shape, (height, width) or (channels, height, width). Three
        channels are drawn as red, green and blue, others one below another. Colours in [0, 1] are
        drawn as they are. Others are stretched from the smallest to the largest value of X.

    Attributes
    ----------
    image_ : matplotlib AxesImage
    text_ : list of matplotlib Text
        What the cells of a table say.
    colorbar_ : matplotlib Colorbar
        Of a table; None for images.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import ReconstructionDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> display = ReconstructionDisplay.from_estimator(VAETransformer(random_state=0).fit(X), X)
    """

    def __init__(
        self,
        X,
        X_reconstructed,
        *,
        deviation=None,
        column_names=None,
        row_names=None,
        image_shape=None,
    ):
        self.X = X
        self.X_reconstructed = X_reconstructed
        self.deviation = deviation
        self.column_names = column_names
        self.row_names = row_names
        self.image_shape = image_shape

    @classmethod
    def from_estimator(cls, estimator, X, *, rows=None, image_shape=None, ax=None):
        """Rebuild rows of X and draw both.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted model, or a pipeline that ends with one.
        X : array-like of shape (n_samples, n_features)
            Rows, as `fit` takes them.
        rows : array-like of int, default=None
            Which rows to show; None for the first eight images, or five rows of a table.
        image_shape : tuple of int, default=None
            If the rows of X are images: their shape. None for the `image_shape` of the estimator.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        ReconstructionDisplay
        """
        before, model = parts_of(estimator, cls, "transform", "inverse_transform")
        seen = before_model(before, X)
        rebuilt = in_units_of_X(before, model.inverse_transform(model.transform(seen)))
        given = X if hasattr(before, "inverse_transform") or before is None else seen
        names = getattr(given, "columns", None)
        given = given.toarray() if hasattr(given, "toarray") else np.asarray(given)
        rebuilt = np.asarray(rebuilt)
        names = column_names(before, model, given.shape[1]) if names is None else list(names)
        image_shape = image_shape_of(image_shape, model, given.shape[1])
        rows = np.arange(min(len(given), 5 if image_shape is None else 8)) if rows is None else rows
        display = cls(
            given[rows],
            rebuilt[rows],
            deviation=[_deviation(column) for column in given.T],
            column_names=names,
            row_names=list(rows),
            image_shape=image_shape,
        )
        return display.plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        self : ReconstructionDisplay
        """
        X, rebuilt = np.asarray(self.X), np.asarray(self.X_reconstructed)
        self.text_, self.colorbar_ = [], None
        draw = self._table if self.image_shape is None else self._images
        ax = draw(ax, X, rebuilt)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _row_names(self):
        return range(len(self.X)) if self.row_names is None else self.row_names

    def _images(self, ax, X, rebuilt):
        n, low, high = len(X), np.nanmin(X), np.nanmax(X)
        both = np.vstack([X, rebuilt]).astype(float)
        images = images_of(both, self.image_shape, type(self))
        height, width = images.shape[1:3]
        ax = axes_for(ax, type(self), figsize=(1.2 + 1.0 * n, 0.8 + 2.0 * height / width))
        image = colours_of(mosaic(images, n), low, high)
        self.image_ = ax.imshow(image, cmap="gray_r", vmin=low, vmax=high)
        ax.set_yticks(centres(2, height), ["given", "rebuilt"])
        ax.set_xticks(centres(n, width), self._row_names())
        ax.set(xlabel="Row of X", title="Reconstruction")
        return ax

    def _table(self, ax, X, rebuilt):
        deviation = [None] * X.shape[1] if self.deviation is None else self.deviation
        apart = np.column_stack(
            [_apart(*one) for one in zip(X.T, rebuilt.T, deviation, strict=True)]
        )
        shown = slice(None, MOST_COLUMNS)
        apart = apart[:, shown].T
        ax = axes_for(
            ax, type(self), figsize=(3.2 + 1.5 * len(X), max(3.0, 1.5 + 0.32 * len(apart)))
        )
        how = {"cmap": "Oranges", "vmin": 0, "vmax": max(2.0, np.nanmax(apart, initial=0))}
        self.image_ = ax.imshow(apart, aspect="auto", **how)
        for (j, i), value in np.ndenumerate(apart):
            text = f"{_short(X[i, j])} → {_short(rebuilt[i, j])}"
            colour = "white" if value > 0.6 * how["vmax"] else "black"
            how_text = {"ha": "center", "va": "center", "fontsize": 8, "color": colour}
            self.text_.append(ax.text(i, j, text, **how_text))
        self.colorbar_ = ax.figure.colorbar(self.image_, ax=ax)
        self.colorbar_.set_label("Error in standard deviations")
        names = range(X.shape[1]) if self.column_names is None else self.column_names
        ax.set_yticks(range(len(apart)), [str(name) for name in names][shown])
        ax.set_xticks(range(len(X)), self._row_names())
        ax.set(xlabel="Row of X", title="Reconstruction: value → rebuilt")
        return ax


def _numbers(column):
    """A column as numbers, or None if it holds categories."""
    if all(isinstance(value, (bool, np.bool_)) for value in column):
        return None
    try:
        return np.asarray(column, dtype=float)
    except (TypeError, ValueError):
        return None


def _deviation(column):
    numbers = _numbers(column)
    if numbers is None or np.isnan(numbers).all():
        return None
    return float(np.nanstd(numbers))


def _apart(column, rebuilt, deviation):
    """How far values are from what is rebuilt of them; NaN where they are missing."""
    numbers, others = _numbers(column), _numbers(rebuilt)
    if numbers is None or others is None:
        return np.array([float(a != b) for a, b in zip(column, rebuilt, strict=True)])
    return np.abs(numbers - others) / (deviation or 1.0)


def _short(value):
    """A value in few characters."""
    if isinstance(value, (bool, np.bool_, str)):
        return str(value)
    try:
        return "?" if value != value else f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    except (TypeError, ValueError):
        return str(value)
