"""Displays: what they draw is what the estimator says, for images, named tables and pipelines."""

import inspect
import subprocess
import sys
import warnings
from email.message import Message
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import LearningCurveDisplay
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_vae
from sklearn_vae import RhoVAETransformer, VAETransformer, displays

matplotlib = pytest.importorskip("matplotlib")
pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

ALL = [getattr(displays, name) for name in displays.__all__]
DOCS = Path(__file__).parent.parent / "docs"
DIGITS = load_digits().data[:200]
WINE, CLASSES = load_wine(return_X_y=True, as_frame=True)
COLOURS = np.eye(3)  # red, green and blue
MIXED = pandas.DataFrame(
    {
        "size": WINE["proline"],
        "kind": pandas.Categorical(np.array(["a", "b", "c"])[CLASSES]),
        "strong": WINE["alcohol"] > 13,
    }
)


def coloured(n):
    """Images (n, 3, 4, 6): one colour above, another below, and two white columns on the right."""
    chosen = np.random.RandomState(0).randint(3, size=(n, 2))
    images = np.ones((n, 3, 4, 6))
    images[..., :2, :4] = COLOURS[chosen[:, 0]][..., None, None]
    images[..., 2:, :4] = COLOURS[chosen[:, 1]][..., None, None]
    return images


def fitted(n_components=3, X=WINE, Estimator=VAETransformer, before=(), **params):
    model = Estimator(n_components, hidden_layer_sizes=(8,), max_iter=3, random_state=0, **params)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return (make_pipeline(*before, model) if before else model).fit(X)


IMAGES = coloured(60)
CONVOLUTIONAL = {"image_shape": (3, 4, 6), "n_filters": (4,)}


@pytest.fixture(scope="module")
def cases():
    """Models and rows by name, with what the displays take beside."""
    image = {"image_shape": (8, 8)}
    return {
        "images": (fitted(4, DIGITS, RhoVAETransformer), DIGITS, image),
        "colour": (fitted(3, IMAGES.reshape(60, -1), **CONVOLUTIONAL), IMAGES.reshape(60, -1), {}),
        "pipeline": (fitted(before=[StandardScaler()]), WINE, {}),
        "polars": (fitted(X=polars.from_pandas(WINE)), polars.from_pandas(WINE), {}),
        "mixed": (fitted(2, MIXED), MIXED, {}),
        "one component": (fitted(1, WINE.to_numpy()), WINE.to_numpy(), {}),
    }


@pytest.fixture(autouse=True)
def no_figures():
    yield
    pyplot.close("all")


def drawn(display, model, X, **how):
    """`from_estimator` with the arguments that it has a name for."""
    known = inspect.signature(display.from_estimator).parameters
    plots = display is displays.LoadingsDisplay
    given = {name: value for name, value in how.items() if name in known or plots}
    needs_rows = "X" in known and display is not displays.ExplainedVarianceDisplay
    return display.from_estimator(model, *([X] if needs_rows else []), **given)


@pytest.mark.parametrize(
    "name", ["images", "colour", "pipeline", "polars", "mixed", "one component"]
)
@pytest.mark.parametrize("display", ALL, ids=lambda display: display.__name__)
def test_every_display_draws_every_kind_of_rows(display, name, cases):
    model, X, how = cases[name]
    shown = drawn(display, model, X, **how)
    assert shown.ax_.figure is shown.figure_
    assert shown.figure_.axes[0].has_data() or len(shown.figure_.axes) > 1
    assert any(ax.get_xlabel() or ax.texts for ax in shown.figure_.axes)
    _, ax = pyplot.subplots()
    assert drawn(display, model, X, ax=ax, **how).figure_ is ax.figure
    shown.figure_.canvas.draw()


@pytest.mark.parametrize("display", ALL, ids=lambda display: display.__name__)
def test_the_manner_is_that_of_scikit_learn(display):
    """`__init__` stores, `from_estimator` takes a model first, and both ways of drawing an `ax`."""
    for theirs in (ConfusionMatrixDisplay, LearningCurveDisplay):
        for method in ("from_estimator", "plot"):
            own, other = (getattr(owner, method) for owner in (display, theirs))
            assert "ax" in inspect.signature(own).parameters
            assert (
                next(iter(inspect.signature(own).parameters)) in inspect.signature(other).parameters
            )
    names = list(inspect.signature(display).parameters)
    stored = display(**dict.fromkeys(names, "as given"))
    assert vars(stored) == dict.fromkeys(names, "as given")


def test_a_covariance_has_what_a_confusion_matrix_has(cases):
    """Of the same kind: numbers written into a coloured matrix."""
    model, X, _ = cases["pipeline"]
    own = displays.PosteriorCovarianceDisplay.from_estimator(model, X)
    theirs = ConfusionMatrixDisplay(np.eye(3)).plot()
    for name in ("ax_", "figure_", "text_"):
        assert hasattr(own, name)
        assert hasattr(theirs, name)
    expected = model[-1].posterior(model[:-1].transform(X))[1].mean(axis=0)
    np.testing.assert_array_equal(own.image_.get_array(), expected)
    assert [text.get_text() for text in own.text_] == [f"{v:.2f}" for v in expected.ravel()]


def test_losses(cases):
    model, X, _ = cases["images"]
    shown = displays.LossCurveDisplay.from_estimator(model, X)
    np.testing.assert_array_equal(shown.line_.get_ydata(), model.loss_curve_)
    np.testing.assert_array_equal(shown.validation_line_.get_ydata(), model.validation_loss_curve_)
    low = shown.reconstruction_line_.get_ydata()
    np.testing.assert_array_equal(low, model.validation_reconstruction_curve_)
    edges = shown.kl_band_.get_paths()[0].vertices
    upper = [edges[edges[:, 0] == epoch, 1].max() for epoch in shown.line_.get_xdata()]
    np.testing.assert_allclose(upper, shown.validation_line_.get_ydata(), rtol=1e-5)
    assert shown.best_.get_offsets()[0, 1] == model.best_loss_
    best = model.net_.keep_best_.best_epoch_
    assert best == shown.best_epoch
    assert best == 0 or model.validation_loss_curve_[best - 1] == model.best_loss_
    assert sum(shown.parts.values()) == pytest.approx(-model.elbo(X).mean())


@pytest.mark.parametrize("is_held_out", [(False, True), (True, False)])
def test_losses_where_only_one_of_two_fits_held_rows_out(is_held_out):
    model = VAETransformer(2, random_state=0, max_iter=3, warm_start=True)
    for early_stopping in is_held_out:
        model.set_params(early_stopping=early_stopping).fit(WINE[["alcohol", "ash", "hue"]])
    shown = displays.LossCurveDisplay.from_estimator(model)
    held_out = np.repeat(is_held_out, 3)
    for line in (shown.validation_line_, shown.reconstruction_line_):
        np.testing.assert_array_equal(np.isfinite(line.get_ydata()), held_out)
    assert len(model.validation_kl_curve_) == len(model.loss_curve_) == model.n_iter_ == 6
    if is_held_out[1]:
        assert shown.best_epoch == 0 or shown.best_epoch > 3
    else:
        assert shown.best_ is None


def test_shares_beside_those_of_pca(cases):
    model, X, _ = cases["pipeline"]
    shown = displays.ExplainedVarianceDisplay.from_estimator(model, X)
    heights = [bar.get_height() for bar in shown.bar_]
    np.testing.assert_allclose(heights, model[-1].explained_variance_ratio_)
    pca = PCA(3).fit(StandardScaler().fit_transform(X))
    heights = [bar.get_height() for bar in shown.reference_bar_]
    np.testing.assert_allclose(heights, pca.explained_variance_ratio_)
    np.testing.assert_allclose(
        shown.reference_line_.get_ydata(), np.cumsum(pca.explained_variance_ratio_)
    )


@pytest.mark.parametrize(
    ("y", "n_classes"),
    [(CLASSES, 3), (np.array(["a", "b", "c"])[CLASSES], 3), (WINE["alcohol"], None), (None, 1)],
)
def test_rows_in_latent_space(cases, y, n_classes):
    model, X, _ = cases["pipeline"]
    how = {"components": (2, 0), "ellipses": True}
    shown = displays.LatentSpaceDisplay.from_estimator(model, X, y, **how)
    Z = model.transform(X)
    points = np.vstack([part.get_offsets() for part in shown.scatter_])
    np.testing.assert_allclose(np.sort(points, axis=0), np.sort(Z[:, [2, 0]], axis=0))
    assert len(shown.scatter_) == (n_classes or 1)
    assert (shown.legend_ is None) == (n_classes != 3)
    assert (shown.colorbar_ is None) == (n_classes is not None)
    covariance = model[-1].posterior(model[:-1].transform(X[:1]))[1][0]
    box = shown.ellipses_.get_paths()[0].get_extents()
    half = np.sqrt([covariance[2, 2], covariance[0, 0]])
    np.testing.assert_allclose(box.max - Z[0, [2, 0]], half, rtol=1e-3)


@pytest.mark.parametrize("name", ["pipeline", "polars"])
def test_loadings_with_names(cases, name):
    model, X, _ = cases[name]
    shown = displays.LoadingsDisplay.from_estimator(model, X, CLASSES, kind="biplot")
    assert len(shown.arrows_) == WINE.shape[1]
    assert {text.get_text() for text in shown.ax_.texts} >= set(WINE.columns)
    shown.plot()
    assert [t.get_text() for t in shown.ax_.get_yticklabels()] == list(WINE.columns)
    last = model[-1] if name == "pipeline" else model
    expected = last.components_ / np.sqrt(np.diag(last.get_covariance()))
    np.testing.assert_allclose(shown.image_.get_array(), expected.T)


@pytest.mark.parametrize("spread", [0.0, 0.1, 3.0])
def test_the_names_of_a_biplot_do_not_overlap(spread):
    """However near the arrows are: the longest ones are named."""
    rng = np.random.RandomState(0)
    loadings = [[0.8], [0.3]] + spread * rng.standard_normal((2, 30))
    names = [f"a rather long name {j}" for j in range(30)]
    display = displays.LoadingsDisplay(
        loadings, column_names=names, Z=rng.standard_normal((9, 2))
    ).plot(kind="biplot", max_names=15)
    display.figure_.canvas.draw()
    shown = [text for text in display.ax_.texts if text.get_text()]
    longest = np.argsort(-np.linalg.norm(loadings, axis=0), kind="stable")[:15]
    assert {text.get_text() for text in shown} == {names[j] for j in longest}
    assert len(display.arrows_) == 30
    boxes = [matplotlib.text.Text.get_window_extent(text) for text in shown]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    for text in shown:  # each is tied to its own arrow
        a, b = text.xy, loadings[:, names.index(text.get_text())]
        assert a[0] * b[1] == pytest.approx(a[1] * b[0])


def test_loadings_of_pca_are_correlations():
    X = StandardScaler().fit_transform(WINE)
    pca = PCA(2).fit(X)
    shown = displays.LoadingsDisplay.from_estimator(pca)
    correlation = np.corrcoef(pca.transform(X).T, X.T)[:2, 2:]
    length = np.sqrt(np.diag(pca.get_covariance()) / (X**2).mean(axis=0) * (len(X) - 1) / len(X))
    np.testing.assert_allclose(shown.loadings * length, correlation, rtol=1e-6, atol=1e-9)


def test_reconstructions_of_images_and_of_a_table(cases):
    model, X, how = cases["images"]
    shown = displays.ReconstructionDisplay.from_estimator(model, X, rows=[5, 7], **how)
    image = np.asarray(shown.image_.get_array())
    np.testing.assert_array_equal(image[:8, 9:], X[7].reshape(8, 8))
    rebuilt = model.inverse_transform(model.transform(X[5:6])).reshape(8, 8)
    np.testing.assert_allclose(image[9:, :8], rebuilt)
    pipeline, X, _ = cases["pipeline"]
    shown = displays.ReconstructionDisplay.from_estimator(pipeline, X, rows=[3])
    rebuilt = pipeline.inverse_transform(pipeline.transform(X))[3]
    expected = np.abs(X.to_numpy()[3] - rebuilt) / X.to_numpy().std(axis=0)
    np.testing.assert_allclose(np.ravel(shown.image_.get_array()), expected)


def test_colours_are_those_of_the_pixels(cases):
    """The networks take the channels first, as images, and a picture has them last."""
    model, X, _ = cases["colour"]
    shown = displays.ReconstructionDisplay.from_estimator(model, X)
    image = np.asarray(shown.image_.get_array())
    np.testing.assert_array_equal(image[0, 0], IMAGES[0, :, 0, 0])
    np.testing.assert_array_equal(image[:4, 7:13], np.moveaxis(IMAGES[1], 0, -1))
    assert {tuple(image[0, 7 * i]) for i in range(8)} <= {tuple(c) for c in COLOURS}
    rebuilt = model.inverse_transform(model.transform(X[1:2])).reshape(3, 4, 6).clip(0, 1)
    np.testing.assert_allclose(image[5:, 7:13], np.moveaxis(rebuilt, 0, -1), atol=1e-12)
    shown = displays.LatentTraversalDisplay.from_estimator(model, n_values=3)
    decoded = np.asarray(shown.decoded)[4].reshape(3, 4, 6)
    low, high = shown.decoded.min(), shown.decoded.max()
    low, high = (0, 1) if low >= 0 and high <= 1 else (low, high)
    middle = np.asarray(shown.images_[0].get_array())[5:9, 7:13]
    np.testing.assert_allclose(middle, np.moveaxis((decoded - low) / (high - low), 0, -1))
    shown = displays.LoadingsDisplay.from_estimator(model)
    first = np.asarray(shown.image_.get_array())[:12, :6]
    np.testing.assert_array_equal(first, shown.loadings[0].reshape(12, 6))


@pytest.mark.parametrize("n_channels", [1, 2, 4])
def test_other_channels_stand_one_below_another(n_channels):
    X = np.random.RandomState(0).rand(3, n_channels * 20)
    shown = displays.ReconstructionDisplay(X, X, image_shape=(n_channels, 4, 5)).plot()
    image = np.asarray(shown.image_.get_array())
    np.testing.assert_array_equal(image[: 4 * n_channels, :5], X[0].reshape(-1, 5))


def test_a_traversal_decodes_a_grid(cases):
    model, _, how = cases["images"]
    shown = displays.LatentTraversalDisplay.from_estimator(
        model, components=(3, 1), n_values=3, extent=1.0, **how
    )
    corner = model.inverse_transform([[0.0, 1.0, 0.0, -1.0]]).reshape(8, 8)
    np.testing.assert_allclose(np.asarray(shown.images_[0].get_array())[:8, :8], corner)
    pipeline = cases["pipeline"][0]
    shown = displays.LatentTraversalDisplay.from_estimator(pipeline, components=1, n_values=3)
    middle = pipeline.inverse_transform(np.zeros((1, 3)))[0]
    np.testing.assert_allclose(np.asarray(shown.decoded)[1], middle)
    assert {ax.get_title() for ax in shown.axes_} <= set(WINE.columns)


# --- what is missing is said ----------------------------------------------------------------------


@pytest.mark.parametrize("display", ALL, ids=lambda display: display.__name__)
def test_another_estimator_is_refused_by_name(display):
    with pytest.raises(NotFittedError):
        drawn(display, VAETransformer(), WINE)
    scaler = StandardScaler().fit(WINE)
    if display not in (displays.LatentSpaceDisplay, displays.ReconstructionDisplay):
        with pytest.raises(TypeError, match=rf"{display.__name__}.* needs .*StandardScaler"):
            drawn(display, scaler, WINE)


def test_other_mistakes_are_named(cases):
    model, X, _ = cases["images"]
    for shape in ((9, 9), (8, 8, 1, 1), (64,)):
        for display in (displays.ReconstructionDisplay, displays.LatentTraversalDisplay):
            with pytest.raises(ValueError, match=rf"{display.__name__} .*\(channels, height"):
                drawn(display, model, X, image_shape=shape)
    with pytest.raises(ValueError, match=r"numbered from 0 to 3; got components=\(0, 4\)"):
        displays.LatentSpaceDisplay.from_estimator(model, X, components=(0, 4))
    with pytest.raises(ValueError, match="biplot needs rows"):
        displays.LoadingsDisplay.from_estimator(model, kind="biplot")
    with pytest.raises(ValueError, match="kind"):
        displays.LoadingsDisplay.from_estimator(model, kind="pie")
    mixed, frame, _ = cases["mixed"]
    with pytest.raises(ValueError, match="Leave X out"):
        displays.ExplainedVarianceDisplay.from_estimator(mixed, frame)


def test_matplotlib_is_imported_when_something_is_drawn():
    code = (
        "import sys\n"
        "from sklearn_vae.displays import LossCurveDisplay\n"
        "display = LossCurveDisplay([1.0])\n"
        "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules\n"
        "sys.modules['matplotlib.pyplot'] = None\n"
        "try:\n"
        "    display.plot()\n"
        "except ImportError as error:\n"
        "    assert 'pip install matplotlib' in str(error)\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- the HTML representation ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["VAETransformer", "RhoVAETransformer", "VAEImputer"])
def test_the_html_links_to_the_page_of_the_estimator(name, monkeypatch):
    from sklearn_vae._base import links

    estimator = getattr(sklearn_vae, name)()
    monkeypatch.setattr(links, "site", lambda: "https://example.org/stable")
    page = f"https://example.org/stable/api/generated/sklearn_vae.{name}.html"
    assert page in estimator._repr_html_()
    assert f"\n   {name}\n" in (DOCS / "api.rst").read_text()
    monkeypatch.setattr(links, "site", lambda: "")
    assert "api/generated" not in estimator._repr_html_()
    assert "/modules/generated/" not in estimator._repr_html_()


def test_the_site_is_the_one_that_the_metadata_name(monkeypatch):
    from sklearn_vae._base import links

    known = Message()
    known["Project-URL"] = "Source, https://example.org/source"
    known["Project-URL"] = "Documentation, https://example.org/stable/"
    monkeypatch.setattr(links, "metadata", lambda package: known)
    assert links.site.__wrapped__() == "https://example.org/stable"
    monkeypatch.setattr(links, "metadata", lambda package: Message())
    assert links.site.__wrapped__() == ""
