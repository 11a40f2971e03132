"""The space of the components: where rows are in it, what is decoded from it, how sure a row is."""

import numpy as np

from .tools import (
    axes_for,
    before_model,
    centres,
    check_components,
    classes_of,
    colours_for,
    colours_of,
    column_names,
    image_shape_of,
    images_of,
    in_units_of_X,
    mosaic,
    name_of,
    parts_of,
)

MOST_ELLIPSES = 200
MOST_PANELS = 6


class LatentSpaceDisplay:
    """Rows in the plane of two components, coloured by y.

    It is made by :meth:`from_estimator`. A model of one component gives a histogram.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Posterior means.
    y : array-like of shape (n_samples,), default=None
        Classes or numbers that colour the rows.
    covariance : array-like of shape (n_samples, n_components, n_components), default=None
        Posterior covariances, for ellipses.
    components : tuple of int, default=(0, 1)
        Which components are drawn.

    Attributes
    ----------
    scatter_ : list of matplotlib PathCollection or BarContainer
        One for each class.
    ellipses_ : matplotlib PatchCollection
        Regions of one standard deviation around up to 200 rows; None if not asked for.
    legend_, colorbar_ : matplotlib Legend, Colorbar
        Of classes and of numbers; None where there is none.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import LatentSpaceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> display = LatentSpaceDisplay.from_estimator(VAETransformer(random_state=0).fit(X), X, y)
    """

    def __init__(self, Z, *, y=None, covariance=None, components=(0, 1)):
        self.Z = Z
        self.y = y
        self.covariance = covariance
        self.components = components

    @classmethod
    def from_estimator(
        cls, estimator, X, y=None, *, components=(0, 1), ellipses=False, ax=None, **kwargs
    ):
        """Draw the rows of X.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted model, or a pipeline that ends with one.
        X : array-like of shape (n_samples, n_features)
            Rows, as `fit` takes them.
        y : array-like of shape (n_samples,), default=None
            Classes or numbers that colour the rows.
        components : tuple of int, default=(0, 1)
            Which ones.
        ellipses : bool, default=False
            Whether to draw what the posterior leaves open: one standard deviation around each row.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        **kwargs : dict
            For ``Axes.scatter``.

        Returns
        -------
        LatentSpaceDisplay
        """
        needed = ("transform", "posterior") if ellipses else ("transform",)
        before, model = parts_of(estimator, cls, *needed)
        X = before_model(before, X)
        covariance = model.posterior(X)[1] if ellipses else None
        Z = np.asarray(model.transform(X))
        components = check_components(components, Z.shape[1], cls)
        display = cls(Z, y=y, covariance=covariance, components=components)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        **kwargs : dict
            For ``Axes.scatter``.

        Returns
        -------
        self : LatentSpaceDisplay
        """
        ax = axes_for(ax, type(self))
        Z = np.asarray(self.Z)
        components = check_components(self.components, Z.shape[1], type(self))
        self.ellipses_ = self.legend_ = self.colorbar_ = None
        draw = self._scatter if len(components) == 2 else self._histogram
        self.scatter_ = draw(ax, Z[:, list(components)], kwargs)
        if self.y is not None and self.colorbar_ is None:
            self.legend_ = ax.legend(title=name_of(self.y))
        ax.set(xlabel=f"Component {components[0]}", title="Rows in latent space")
        if len(components) == 2:
            ax.set_ylabel(f"Component {components[1]}")
            ax.set_aspect("equal", adjustable="datalim")
            if self.covariance is not None:
                self._draw_ellipses(ax, Z[:, list(components)], components)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _scatter(self, ax, Z, kwargs):
        classes, how = classes_of(self.y), {"s": 12, "alpha": 0.7} | kwargs
        if classes is None:
            shown = ax.scatter(*Z.T, **{"c": np.asarray(self.y, dtype=float)} | how)
            self.colorbar_ = ax.figure.colorbar(shown, ax=ax)
            self.colorbar_.set_label(name_of(self.y))
            return [shown]
        colours = colours_for(len(classes))
        return [
            ax.scatter(*Z[rows].T, label=label, **{"color": [colour]} | how)
            for (label, rows), colour in zip(classes, colours, strict=True)
        ]

    def _histogram(self, ax, Z, kwargs):
        classes = classes_of(self.y) or [("all rows", slice(None))]
        bins = np.histogram_bin_edges(Z[:, 0], bins=30)
        ax.set_ylabel("Number of rows")
        how = {"bins": bins, "alpha": 0.5} | kwargs
        colours = colours_for(len(classes))
        return [
            ax.hist(Z[rows, 0], label=label, color=colour, **how)[2]
            for (label, rows), colour in zip(classes, colours, strict=True)
        ]

    def _draw_ellipses(self, ax, Z, components):
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Ellipse

        step = -(-len(Z) // MOST_ELLIPSES)
        covariance = np.asarray(self.covariance)[::step][:, components][:, :, components]
        values, vectors = np.linalg.eigh(covariance)
        angles = np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]))
        sizes = 2 * np.sqrt(np.maximum(values, 0))
        patches = [
            Ellipse(mean, width, height, angle=angle)
            for mean, (height, width), angle in zip(Z[::step], sizes, angles, strict=True)
        ]
        how = {"facecolor": "none", "edgecolor": "black", "linewidth": 0.5, "alpha": 0.6}
        self.ellipses_ = ax.add_collection(PatchCollection(patches, **how))
        note = "Ellipses: one standard deviation of the posterior"
        ax.set_title(f"Rows in latent space\n{note}", fontsize=10)


class LatentTraversalDisplay:
    """What the decoder makes of a grid over two components, the others at 0.

    It is made by :meth:`from_estimator`. Images are shown side by side, columns of a table as maps.

    Parameters
    ----------
    values : array-like of shape (n_values,)
        Of each of the components.
    decoded : array-like of shape (n_grid, n_columns)
        Rows decoded: n_values of them for one component, or n_values^2 for two, of which the second
        changes slowest.

    column_names : array-like of str of shape (n_columns,)
        Names of the columns.
    components : tuple of int, default=(0, 1)
        Which components are drawn.
    image_shape : tuple of int, default=None
        If the rows are images: their shape, (height, width) or (channels, height, width), drawn as
        in :class:`ReconstructionDisplay`.

    Attributes
    ----------
    images_ : list of matplotlib AxesImage or Line2D
        One of all images, or one for each column shown.
    axes_ : list of matplotlib Axes
        Where they are.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import LatentTraversalDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> display = LatentTraversalDisplay.from_estimator(VAETransformer(random_state=0).fit(X))
    """

    def __init__(self, values, decoded, *, column_names, components=(0, 1), image_shape=None):
        self.values = values
        self.decoded = decoded
        self.column_names = column_names
        self.components = components
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls, estimator, *, components=(0, 1), image_shape=None, n_values=11, extent=2.0, ax=None
    ):
        """Decode a grid and draw it.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted model, or a pipeline that ends with one.
        components : tuple of int, default=(0, 1)
            One or two.
        image_shape : tuple of int, default=None
            If the rows of X are images: their shape. None for the `image_shape` of the estimator.
        n_values : int, default=11
            Values of each component.
        extent : float, default=2.0
            The largest of them. Under the prior a component has the standard deviation 1.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        LatentTraversalDisplay
        """
        before, model = parts_of(estimator, cls, "inverse_transform", "n_components_")
        components = check_components(components, model.n_components_, cls)
        values = np.linspace(-extent, extent, n_values)
        grid = np.meshgrid(*[values] * len(components))
        Z = np.zeros((grid[0].size, model.n_components_))
        Z[:, list(components)] = np.column_stack([axis.ravel() for axis in grid])
        decoded = in_units_of_X(before, model.inverse_transform(Z))
        names = getattr(decoded, "columns", None)
        if names is None:
            names = getattr(before, "feature_names_in_", None)
        decoded = np.asarray(decoded)
        if names is None or len(names) != decoded.shape[1]:
            names = column_names(before, model, decoded.shape[1])
        image_shape = image_shape_of(image_shape, model, decoded.shape[1])
        how = {"components": components, "image_shape": image_shape}
        return cls(values, decoded, column_names=list(names), **how).plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        self : LatentTraversalDisplay
        """
        draw = self._table if self.image_shape is None else self._mosaic
        self.images_, self.axes_ = draw(ax, np.asarray(self.decoded))
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        given = " and ".join(str(c) for c in self.components)
        s = "s" if len(self.components) == 2 else ""
        self.figure_.suptitle(f"Decoded from component{s} {given} (any others at 0)")
        return self

    def _mosaic(self, ax, decoded):
        n, n_rows = len(self.values), len(decoded) // len(self.values)
        upwards = decoded.reshape(n_rows, n, -1)[::-1].reshape(decoded.shape).astype(float)
        images = images_of(upwards, self.image_shape, type(self))
        height, width = images.shape[1:3]
        ax = axes_for(ax, type(self), figsize=(7.5, 1.6 + 6 * n_rows * height / (n * width)))
        image = colours_of(mosaic(images, n), upwards.min(), upwards.max())
        shown = ax.imshow(image, cmap="gray_r", interpolation="nearest")
        ticks = [f"{value:.1f}" for value in self.values]
        ax.set_xticks(centres(n, width), ticks)
        ax.set_yticks([])
        ax.set_xlabel(f"Component {self.components[0]}")
        if len(self.components) == 2:
            ax.set_yticks(centres(n_rows, height), ticks[::-1])
            ax.set_ylabel(f"Component {self.components[1]}")
        return [shown], [ax]

    def _table(self, ax, decoded):
        shown = _numeric_columns(decoded)[:MOST_PANELS]
        n_across = min(3, len(shown))
        n_down = -(-len(shown) // n_across)
        ax = axes_for(ax, type(self), figsize=(0.5 + 3.1 * n_across, 0.7 + 2.6 * n_down))
        if len(shown) > 1:
            ax.set_axis_off()
            grid = ax.get_subplotspec().subgridspec(n_down, n_across)
            axes = [ax.figure.add_subplot(grid[i]) for i in range(len(shown))]
        else:
            axes = [ax]
        drawn = []
        for one, j in zip(axes, shown, strict=True):
            values = decoded[:, j].astype(float)
            one.set_title(str(self.column_names[j]), fontsize=9)
            one.set_xlabel(f"Component {self.components[0]}", fontsize=8)
            if len(self.components) == 1:
                drawn += one.plot(self.values, values)
                continue
            n, edge = len(self.values), self.values[-1]
            how = {"origin": "lower", "extent": (-edge, edge, -edge, edge), "aspect": "auto"}
            drawn.append(one.imshow(values.reshape(n, n), interpolation="bilinear", **how))
            one.set_ylabel(f"Component {self.components[1]}", fontsize=8)
            ax.figure.colorbar(drawn[-1], ax=one)
        return drawn, axes


def _numeric_columns(decoded):
    """Numbers of the columns that hold numbers, those that vary most for their size first."""
    varied = {}
    for j in range(decoded.shape[1]):
        try:
            values = decoded[:, j].astype(float)
        except ValueError:
            continue
        varied[j] = values.std() / max(np.abs(values).max(), 1e-300)
    if not varied:
        raise ValueError(
            "LatentTraversalDisplay shows columns of numbers, and there is none: all columns are "
            "categories."
        )
    return sorted(varied, key=lambda j: -varied[j])


class PosteriorCovarianceDisplay:
    """Covariance of the components given a row, on average over rows.

    It is made by :meth:`from_estimator`. Entries off the diagonal show which components the
    posterior cannot tell apart; on it 1 stands for a component of which nothing is known.

    Parameters
    ----------
    covariance : array-like of shape (n_components, n_components)
        The posterior covariance.

    Attributes
    ----------
    image_ : matplotlib AxesImage
    colorbar_ : matplotlib Colorbar
    text_ : list of matplotlib Text
        The numbers, for up to 10 components.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import PosteriorCovarianceDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> vae = VAETransformer(covariance_type="full", random_state=0).fit(X)
    >>> display = PosteriorCovarianceDisplay.from_estimator(vae, X)
    """

    def __init__(self, covariance):
        self.covariance = covariance

    @classmethod
    def from_estimator(cls, estimator, X, *, ax=None, **kwargs):
        """Draw the mean posterior covariance of the rows of X.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted model, or a pipeline that ends with one.
        X : array-like of shape (n_samples, n_features)
            Rows; one of them, ``X[:1]``, for its own covariance.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        **kwargs : dict
            For ``Axes.imshow``.

        Returns
        -------
        PosteriorCovarianceDisplay
        """
        before, model = parts_of(estimator, cls, "posterior")
        covariance = model.posterior(before_model(before, X))[1].mean(axis=0)
        return cls(covariance).plot(ax=ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        **kwargs : dict
            For ``Axes.imshow``.

        Returns
        -------
        self : PosteriorCovarianceDisplay
        """
        ax = axes_for(ax, type(self))
        covariance = np.asarray(self.covariance)
        d, bound = len(covariance), np.abs(covariance).max()
        how = {"cmap": "RdBu_r", "vmin": -bound, "vmax": bound} | kwargs
        self.image_ = ax.imshow(covariance, **how)
        self.colorbar_ = ax.figure.colorbar(self.image_, ax=ax)
        self.colorbar_.set_label("Covariance (of the prior: the identity)")
        self.text_ = []
        if d <= 10:
            for (i, j), value in np.ndenumerate(covariance):
                colour = "white" if abs(value) > 0.6 * bound else "black"
                how = {"ha": "center", "va": "center", "color": colour, "fontsize": 8}
                self.text_.append(ax.text(j, i, f"{value:.2f}", **how))
            ax.set_xticks(range(d))
            ax.set_yticks(range(d))
        ax.set(xlabel="Component", ylabel="Component", title="Covariance of z given a row (mean)")
        self.ax_, self.figure_ = ax, ax.figure
        return self
