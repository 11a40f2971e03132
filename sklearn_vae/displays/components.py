"""What the components are: how much of X each explains, and which columns it moves."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.isotonic import isotonic_regression

from .tools import (
    axes_for,
    before_model,
    check_components,
    classes_of,
    colours_for,
    column_names,
    image_shape_of,
    images_of,
    mosaic,
    name_of,
    parts_of,
)

MOST_COLUMNS = 40  # of a table, in one picture
GAP = 2  # pixels between images
LINE = 0.055  # the height of a name in a biplot, as a share of half the height of the axes


class ExplainedVarianceDisplay:
    """Scree plot: share of X's variance that each component explains.

    It is made by :meth:`from_estimator`. The bars are the shares, the lines their sums.

    Parameters
    ----------
    explained_variance_ratio : array-like of shape (n_components,)
        Share of the variance that each component explains.
    reference : array-like of shape (n_reference,), default=None
        Those of another model, PCA's for example.

    name, reference_name : str
        What the models are called in the legend.

    Attributes
    ----------
    bar_, reference_bar_ : matplotlib BarContainer
        Shares; None where there is no reference.
    line_, reference_line_ : matplotlib Line2D
        Their sums.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import ExplainedVarianceDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> display = ExplainedVarianceDisplay.from_estimator(VAETransformer(random_state=0).fit(X), X)
    """

    def __init__(
        self, explained_variance_ratio, *, reference=None, name="VAE", reference_name="PCA"
    ):
        self.explained_variance_ratio = explained_variance_ratio
        self.reference = reference
        self.name = name
        self.reference_name = reference_name

    @classmethod
    def from_estimator(cls, estimator, X=None, *, ax=None, **kwargs):
        """Draw the shares of a fitted model, and PCA's beside them.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted model, or a pipeline that ends with one.
        X : array-like of shape (n_samples, n_features), default=None
            Rows to which PCA is fitted, each column divided by what the model divides it by.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        **kwargs : dict
            Of the bars, for ``Axes.bar``.

        Returns
        -------
        ExplainedVarianceDisplay
        """
        before, model = parts_of(estimator, cls, "explained_variance_ratio_")
        shares, reference = np.asarray(model.explained_variance_ratio_), None
        if X is not None:
            reference = cls._of_pca(before_model(before, X), model, len(shares))
        display = cls(shares, reference=reference, name=type(model).__name__)
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def _of_pca(cls, X, model, n_components):
        scale = np.asarray(getattr(model, "scale_", 1.0))
        try:
            X = np.asarray(X, dtype=np.float64)
            X = X[:, scale > 0] / scale[scale > 0] if scale.ndim else X
            return PCA(min(n_components, *X.shape)).fit(X).explained_variance_ratio_
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{cls.__name__} fits PCA to X, which takes numbers, none of them missing. Leave X "
                "out to draw the model alone."
            ) from error

    def plot(self, ax=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        **kwargs : dict
            Of the bars, for ``Axes.bar``.

        Returns
        -------
        self : ExplainedVarianceDisplay
        """
        ax = axes_for(ax, type(self))
        self.reference_bar_ = self.reference_line_ = None
        width = 0.8 if self.reference is None else 0.4

        def draw(shares, name, color, shift):
            at = np.arange(len(shares))
            how = {"width": width, "color": color, "alpha": 0.5} | kwargs
            bar = ax.bar(at + shift, shares, label=f"{name}, each", **how)
            how = {"color": color, "marker": "o", "markersize": 4}
            label = f"{name}, cumulative ({np.sum(shares):.2f} in all)"
            return bar, ax.plot(at, np.cumsum(shares), label=label, **how)[0]

        shares, shift = np.asarray(self.explained_variance_ratio), 0.0
        if self.reference is not None:
            shift = -width / 2
            drawn = draw(np.asarray(self.reference), self.reference_name, "tab:orange", width / 2)
            self.reference_bar_, self.reference_line_ = drawn
        self.bar_, self.line_ = draw(shares, self.name, "tab:blue", shift)
        ax.set(xlabel="Component", ylabel="Share of the variance of X", ylim=(None, 1.02))
        ax.set_title("Explained variance")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


class LoadingsDisplay:
    """Loadings: by how much each column of X moves with each component.

    It is made by :meth:`from_estimator`. A loading is given in standard deviations of its column,
    so that columns in different units can be compared. In a linear model it is the correlation of
    the component with the column.

    Parameters
    ----------
    loadings : array-like of shape (n_components, n_columns)
        The loadings, as `components_` has them.
    column_names : array-like of str of shape (n_columns,)
        Names of the columns.
    Z : array-like of shape (n_samples, n_components), default=None
        Components of some rows, for a biplot.
    y : array-like of shape (n_samples,), default=None
        Their classes, which colour them.
    image_shape : tuple of int, default=None
        If the columns are pixels: the shape of the images, (height, width) or (channels, height,
        width). The heat map then shows an image for each component, its channels one below another.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        The heat map; None in a biplot.
    colorbar_ : matplotlib Colorbar
        Of the heat map.
    arrows_, scatter_ : list of matplotlib Annotation and of PathCollection
        Of the biplot; None in a heat map.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import LoadingsDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> display = LoadingsDisplay.from_estimator(VAETransformer(random_state=0).fit(X))
    """

    def __init__(self, loadings, *, column_names, Z=None, y=None, image_shape=None):
        self.loadings = loadings
        self.column_names = column_names
        self.Z = Z
        self.y = y
        self.image_shape = image_shape

    @classmethod
    def from_estimator(cls, estimator, X=None, y=None, *, image_shape=None, ax=None, **kwargs):
        """Draw the loadings of a fitted model.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted model, or a pipeline that ends with one.
        X : array-like of shape (n_samples, n_features), default=None
            Rows to be shown in a biplot.
        y : array-like of shape (n_samples,), default=None
            Their classes, which colour them.
        image_shape : tuple of int, default=None
            If the columns of X are pixels: the shape of the images. None for the `image_shape` of
            the estimator.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        **kwargs : dict
            For :meth:`plot`.

        Returns
        -------
        LoadingsDisplay
        """
        before, model = parts_of(estimator, cls, "components_", "get_covariance")
        B = np.asarray(model.components_)
        if isinstance(model, PCA):  # whose components are of length 1
            B = B * np.sqrt(model.explained_variance_)[:, None]
        deviation = np.sqrt(np.diag(model.get_covariance()))
        loadings = np.divide(B, deviation, out=np.zeros_like(B), where=deviation > 0)
        Z = None if X is None else model.transform(before_model(before, X))
        names = column_names(before, model, B.shape[1])
        shape = image_shape_of(image_shape, model, B.shape[1])
        how = {"Z": None if Z is None else np.asarray(Z), "y": y, "image_shape": shape}
        return cls(loadings, column_names=names, **how).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, kind="heatmap", components=(0, 1), max_names=20):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        kind : {"heatmap", "biplot"}, default="heatmap"
            A heat map of all components, or arrows over the rows in the plane of two.
        components : tuple of int, default=(0, 1)
            Those of the biplot.
        max_names : int, default=20
            How many arrows of the biplot are named at most, the longest ones.

        Returns
        -------
        self : LoadingsDisplay
        """
        loadings = np.asarray(self.loadings)
        self.image_ = self.colorbar_ = self.arrows_ = self.scatter_ = None
        if kind == "biplot":
            components = check_components(components, len(loadings), type(self))
            ax = self._biplot(ax, components, max_names)
        elif kind == "heatmap":
            ax = self._heatmap(ax) if self.image_shape is None else self._images(ax)
        else:
            raise ValueError(f"kind is 'heatmap' or 'biplot'; got kind={kind!r}.")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _strongest(self, loadings):
        """The columns that move most, in their own order."""
        return np.sort(np.argsort(-np.abs(loadings).max(axis=0), kind="stable")[:MOST_COLUMNS])

    def _shown(self, ax, values, **how):
        bound = np.nanmax(np.abs(values)) or 1.0
        self.image_ = ax.imshow(values, cmap="RdBu_r", vmin=-bound, vmax=bound, **how)
        self.colorbar_ = ax.figure.colorbar(self.image_, ax=ax)
        self.colorbar_.set_label("Change per unit of z (standard deviations)")

    def _heatmap(self, ax):
        loadings = np.asarray(self.loadings)
        shown = self._strongest(loadings)
        size = 3.6 + 0.5 * len(loadings), max(3.2, 1.4 + 0.27 * len(shown))
        ax = axes_for(ax, type(self), figsize=size)
        self._shown(ax, loadings[:, shown].T, aspect="auto")
        ax.set_xticks(range(len(loadings)))
        ax.set_yticks(range(len(shown)), np.asarray(self.column_names)[shown])
        left_out = loadings.shape[1] - len(shown)
        title = f"Loadings (the strongest {len(shown)} columns)" if left_out else "Loadings"
        ax.set(xlabel="Component", title=title)
        return ax

    def _images(self, ax):
        loadings = np.asarray(self.loadings)
        n_columns = min(len(loadings), 5)
        images = images_of(loadings, self.image_shape, type(self), in_colour=False)
        height, width = images.shape[1:]
        rows = -(-len(loadings) // n_columns) * height / width
        ax = axes_for(ax, type(self), figsize=(1.5 + 1.3 * n_columns, 1 + 1.4 * rows))
        self._shown(ax, mosaic(images, n_columns, GAP))
        for c in range(len(loadings)):
            at = c % n_columns * (width + GAP) - 0.5, c // n_columns * (height + GAP) - 0.6
            ax.text(*at, f"component {c}", fontsize=7, va="bottom")
        ax.set_axis_off()
        ax.set_title("Loadings of each pixel", pad=16)
        return ax

    def _biplot(self, ax, components, max_names):
        if self.Z is None or len(components) < 2:
            raise ValueError(
                "A biplot needs rows and two components: call from_estimator(estimator, X, "
                "kind='biplot') with a model of two components or more."
            )
        ax = axes_for(ax, type(self), figsize=(6.4, 6))
        Z = np.asarray(self.Z)[:, list(components)]
        classes = classes_of(self.y) or [(None, slice(None))]
        self.scatter_ = [
            ax.scatter(*Z[rows].T, s=10, alpha=0.5, color=[colour], label=label)
            for (label, rows), colour in zip(classes, colours_for(len(classes)), strict=True)
        ]
        if len(classes) > 1:
            ax.legend(title=name_of(self.y))
        loadings = np.asarray(self.loadings)[list(components)]
        shown = self._strongest(loadings)
        ends = 0.75 * np.abs(Z).max() / max(np.abs(loadings).max(), 1e-12) * loadings[:, shown].T
        how = {"arrowstyle": "->", "color": "tab:red"}
        self.arrows_ = [ax.annotate("", end, (0, 0), arrowprops=how) for end in ends]
        edge = 1.25 * np.abs(Z).max()
        longest = np.argsort(-np.linalg.norm(ends, axis=1), kind="stable")[:max_names]
        for is_right in (False, True):
            side = longest[(ends[longest, 0] >= 0) == is_right]
            if len(side):
                names = np.asarray(self.column_names)[shown[side]]
                self._name(ax, ends[side], names, is_right, edge)
        ax.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
        ax.axhline(0, color="grey", linewidth=0.6)
        ax.axvline(0, color="grey", linewidth=0.6)
        names = [f"Component {c}" for c in components]
        ax.set(xlabel=names[0], ylabel=names[1], title="Rows and the columns that move them")
        return ax

    def _name(self, ax, ends, names, is_right, edge):
        """Names beside the ends (n, 2) of arrows on one side, no two of them at one height."""
        order = np.argsort(ends[:, 1], kind="stable")
        apart = LINE * edge * np.arange(len(order))
        heights = isotonic_regression(ends[order, 1] - apart) + apart
        how = {"ha": "left" if is_right else "right", "va": "center", "fontsize": 8}
        line = {"arrowstyle": "-", "color": "grey", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0}
        for i, height in zip(order, heights, strict=True):
            at = ends[i, 0] + (0.04 if is_right else -0.04) * edge, height
            ax.annotate(str(names[i]), ends[i], at, arrowprops=line, **how)
