"""Data as they come: no fit ends below its start or below the linear model without saying so."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, TimeSeriesSplit
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, LRScheduler

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae._base.data import CHUNK
from sklearn_vae._base.splitting import check_groups, copies, jump, linked, split, split_by
from sklearn_vae.likelihoods import Gaussian, NegativeBinomial
from sklearn_vae.likelihoods.scaling import share_a_unit
from sklearn_vae.objectives import ELBO
from sklearn_vae.selection import Moments
from sklearn_vae.selection.linear import count_model, linear_model

UNBOUNDED = "no upper bound"
seeds = pytest.mark.parametrize("seed", range(3))

# A plain autoencoder, whose noise weighs nothing.
AUTOENCODER = {"objective": ELBO(beta=0), "likelihood": Gaussian(1.0)}


def start_of(estimator, X):
    """The estimator where it starts."""
    start = clone(estimator).set_params(learning_rate_init=1e-12, max_iter=1, early_stopping=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return start.fit(X)


def factor_rows(rng, n, loadings, noise=0.7):
    return rng.standard_normal((n, len(loadings))) @ loadings + noise * rng.standard_normal(
        (n, loadings.shape[1])
    )


def one_hot(rng, n, levels=3):
    return np.eye(levels)[rng.randint(levels, size=n)]


# --- where nothing watches the fit ----------------------------------------------------------------


@seeds
@pytest.mark.parametrize(("n", "D", "d"), [(5, 100, 4), (15, 40, 14), (2, 4, 2)])
def test_few_rows_of_many_columns_end_no_lower_than_they_start(n, D, d, seed):
    X = np.random.RandomState(seed).rand(n, D)
    model = VAETransformer(d, random_state=seed)
    with pytest.warns(UserWarning, match=UNBOUNDED):
        score = model.fit(X).score(X)
    assert score >= start_of(model, X).score(X) - 1e-6


@seeds
def test_a_stream_of_categories_ends_no_lower_than_it_starts(seed):
    """Columns that add up to one.

    Without a bound on the likelihood, each step from the start is a loss.
    """
    X = one_hot(np.random.RandomState(seed), 300)
    model = VAETransformer(2, random_state=seed)
    for _ in range(5):
        with pytest.warns(UserWarning, match=UNBOUNDED):
            model.partial_fit(X)
    assert model.score(X) >= start_of(model, X).score(X) - 0.1


@seeds
@pytest.mark.parametrize("early_stopping", [False, "auto"])
def test_categories_beside_numbers(early_stopping, seed):
    rng = np.random.RandomState(seed)
    X = np.hstack([one_hot(rng, 300), rng.standard_normal((300, 3))])
    model = VAETransformer(5, early_stopping=early_stopping, max_iter=100, random_state=seed)
    with pytest.warns(UserWarning, match=UNBOUNDED):
        score = model.fit(X).score(X)
    assert score >= start_of(model, X).score(X) - 1e-3


@seeds
def test_without_held_out_rows_the_best_weights_are_kept(Estimator, seed):
    """At a rate that leads away from the start, and comes back or not."""
    X = StandardScaler().fit_transform(load_wine().data)
    params = {"early_stopping": False, "random_state": seed}
    model = Estimator(2, learning_rate_init=0.3, max_iter=10, **params).fit(X)
    assert model.best_loss_ <= start_of(Estimator(2, **params), X).best_loss_ + 1e-6
    assert model.score(X) >= start_of(Estimator(2, **params), X).score(X) - 0.1


def test_an_honest_fit_says_nothing(Estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Estimator(2, random_state=0).fit(load_iris().data)


# --- rows that are not independent ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["copies", "bootstrap", "relatives"])
@seeds
def test_rows_that_come_again_cost_nothing(kind, seed):
    """Held out by the model of their source, beside PCA of the same rows."""
    rng = np.random.RandomState(seed)
    loadings = rng.standard_normal((3, 12))
    X, X_test = (
        factor_rows(rng, 60 if kind != "bootstrap" else 300, loadings),
        factor_rows(rng, 1000, loadings),
    )
    X = X[rng.randint(len(X), size=len(X))] if kind == "bootstrap" else np.repeat(X, 8, axis=0)
    if kind == "relatives":
        X = X + 0.05 * rng.standard_normal(X.shape)
    model = VAETransformer(3, standardize=False, random_state=seed)
    if kind == "relatives":
        with pytest.warns(UserWarning, match=r"fit\(X, groups=\.\.\.\)"):
            model.fit(X)
    else:
        model.fit(X)
    assert model.score(X_test) >= PCA(3).fit(X).score(X_test) - 0.6


def test_overlapping_windows_that_no_split_keeps_apart_stay_at_the_linear_model():
    """A chain of neighbours has no two independent halves."""
    t = np.linspace(0, 4, 400)[:, None]
    X = np.column_stack([np.sin(t + k) for k in range(8)])
    X = np.repeat(X, 2, axis=0) + 1e-5 * np.random.RandomState(0).standard_normal((800, 8))
    labels = linked(X.astype(np.float32), 0.05)
    assert labels.max() == 0
    train, valid = split(len(X), "auto", 0.1, 0, labels)
    assert valid is None
    assert len(train) == len(X)


def test_independent_rows_are_not_called_related():
    rng = np.random.RandomState(0)
    for X in (
        rng.standard_normal((600, 5)),
        rng.standard_normal((600, 12)) / np.sqrt(rng.chisquare(2, (600, 1)) / 2),
        0.2 * rng.standard_normal((600, 4)) + rng.randint(4, size=(600, 1)),
        load_digits().data,
    ):
        assert jump(X[100:], X[:100])[0] < 2
    X = np.repeat(rng.standard_normal((150, 6)), 4, axis=0) + 0.05 * rng.standard_normal((600, 6))
    X = rng.permutation(X)
    size, distance = jump(X[100:], X[:100])
    assert size > 5
    assert 130 <= len(np.unique(linked(X, distance))) <= 150


def test_copies_and_what_only_looks_like_them():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((50, 3))
    labels = copies(np.vstack([X, X[:10], X[:5]]))
    np.testing.assert_array_equal(labels[50:60], labels[:10])
    np.testing.assert_array_equal(labels[60:], labels[:5])
    assert len(np.unique(labels[:50])) == 50
    assert copies(X) is None
    assert copies(one_hot(rng, 300)) is None  # the same answer given twice is no copy
    assert copies(rng.poisson(2.0, (300, 3)).astype(float)) is None
    assert copies(rng.randint(5, size=(300, 1)).astype(float)) is None


@seeds
def test_groups_stay_on_one_side(seed):
    groups = np.random.RandomState(seed).randint(40, size=300)
    for labels in (groups, np.char.mod("subject %d", groups)):
        train, valid = split(300, "auto", 0.1, seed, check_groups(labels, np.empty((300, 1))))
        assert not set(groups[train]) & set(groups[valid])
        assert 30 <= len(valid) <= 50
        np.testing.assert_array_equal(np.sort(np.r_[train, valid]), np.arange(300))


def test_groups_too_large_to_be_held_out(Estimator):
    X = load_iris().data
    with pytest.raises(ValueError, match="early_stopping holds out whole groups"):
        Estimator(2, early_stopping=True).fit(X, groups=np.zeros(150))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        Estimator(2).fit(X, groups=np.zeros(10))
    assert (
        Estimator(2, max_iter=2, random_state=0).fit(X, groups=np.zeros(150)).validation_loss_curve_
        is None
    )


@pytest.mark.parametrize(
    "splitter", [GroupKFold(5), GroupShuffleSplit(1, test_size=0.2, random_state=0)]
)
def test_a_splitter_says_what_is_held_out(Estimator, splitter):
    X, groups = load_iris().data, np.arange(150) // 5
    model = Estimator(2, early_stopping=splitter, max_iter=3, random_state=0)
    assert clone(model).fit(X, groups=groups).validation_loss_curve_ is not None
    train, valid = split_by(splitter, X, None, groups)
    assert not set(groups[train]) & set(groups[valid])


def test_the_latest_rows_of_a_series_are_held_out():
    X = load_iris().data
    train, valid = split_by(TimeSeriesSplit(4), X, None, None)
    assert train.max() < valid.min()
    assert valid.max() == len(X) - 1


def test_rows_given_to_be_held_out_are_not_trained_on(Estimator):
    X, X_val = load_iris().data[::2], load_iris().data[1::2]
    model = Estimator(2, max_iter=5, random_state=0).fit(X, X_val=X_val)
    assert model.validation_loss_curve_
    assert model.net_.stage_ != "refit"
    np.testing.assert_allclose(model.mean_, X.mean(axis=0))
    other = Estimator(2, max_iter=5, random_state=0).fit(X, X_val=3 * X_val)
    assert other.best_loss_ > model.best_loss_
    with pytest.raises(ValueError, match="early_stopping=False asks for none"):
        Estimator(2, early_stopping=False).fit(X, X_val=X_val)
    with pytest.raises(ValueError, match="3 features"):
        Estimator(2).fit(X, X_val=X_val[:, :3])


def test_groups_and_validation_rows_go_through_a_pipeline(Estimator):
    X = pd.DataFrame(load_iris().data, columns=list("abcd"))
    with sklearn.config_context(enable_metadata_routing=True):
        vae = Estimator(2, max_iter=3, random_state=0).set_fit_request(groups=True, X_val=True)
        steps = [("scale", StandardScaler()), ("vae", vae)]
        model = Pipeline(steps, transform_input=["X_val"]).fit(X[::2], X_val=X[1::2])
        assert model[-1].validation_loss_curve_
        inside = clone(vae).fit(model[0].transform(X[::2]), X_val=model[0].transform(X[1::2]))
        np.testing.assert_array_equal(inside.loss_curve_, model[-1].loss_curve_)
        assert Pipeline(steps).fit(X, groups=np.arange(150) // 5)[-1].validation_loss_curve_


# --- counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
@seeds
def test_independent_counts_are_no_loss(likelihood, seed):
    rng = np.random.RandomState(seed)
    X, X_test = rng.poisson(50, (60, 10)), rng.poisson(50, (1000, 10))
    with pytest.warns(UserWarning, match="Only 0 of 1"):  # there is nothing to be found
        model = VAETransformer(1, likelihood=likelihood, random_state=seed).fit(X)
    assert (
        model.score(X_test) >= stats.poisson.logpmf(X_test, X.mean(axis=0)).sum(axis=1).mean() - 0.3
    )
    if likelihood == "negative_binomial":
        assert model.dispersion_.max() < 0.02


@seeds
def test_the_linear_model_of_counts_is_that_of_the_moments(seed):
    """Many counts of a log-normal Poisson model: its loadings, noise and mean come back."""
    rng = np.random.RandomState(seed)
    W, A, b = 0.5 * rng.standard_normal((6, 2)), np.linspace(0.05, 0.3, 6), np.linspace(1, 4, 6)
    n = 400_000
    log_mean = rng.standard_normal((n, 2)) @ W.T + b + np.sqrt(A) * rng.standard_normal((n, 6))
    model = count_model(Moments.of(rng.poisson(np.exp(log_mean))), 2)
    np.testing.assert_allclose(model.loadings @ model.loadings.T, W @ W.T, atol=0.12)
    np.testing.assert_allclose(np.log1p(model.dispersion), A, atol=0.12)
    np.testing.assert_allclose(model.offset, b + A / 2, atol=0.05)


def test_the_start_of_counts_is_above_independent_columns():
    """Before any step of training, where counts have factors."""
    rng = np.random.RandomState(0)
    X = rng.poisson(
        np.exp(1.5 + rng.standard_normal((500, 2)) @ (0.6 * rng.standard_normal((2, 8))))
    )
    for likelihood, independent in (
        ("poisson", stats.poisson.logpmf(X, X.mean(axis=0))),
        ("negative_binomial", stats.nbinom.logpmf(X, *of_moments(X))),
    ):
        start = start_of(VAETransformer(2, likelihood=likelihood, random_state=0), X)
        assert start.score(X) > independent.sum(axis=1).mean() + 0.5


def of_moments(X):
    """The two parameters of a negative binomial of the mean and variance of each column."""
    mean, variance = X.mean(axis=0), X.var(axis=0)
    return mean**2 / (variance - mean), mean / variance


def test_dispersion_starts_at_its_moments():
    rng = np.random.RandomState(0)
    alpha = np.array([0.01, 0.1, 1.0])
    X = rng.poisson(rng.gamma(1 / alpha, 30 * alpha, (5000, 3)))
    start = start_of(VAETransformer(1, likelihood="negative_binomial", random_state=0), X)
    np.testing.assert_allclose(start.dispersion_, alpha, rtol=0.3)
    assert isinstance(start.net_.module_.likelihood, NegativeBinomial)


# --- as many components as columns, constant columns, units ---------------------------------------


@seeds
@pytest.mark.parametrize("kind", ["round", "bimodal", "iris"])
def test_as_many_components_as_columns_rebuild_them(kind, seed):
    rng = np.random.RandomState(seed)
    X = {
        "round": rng.standard_normal((400, 2)),
        "bimodal": (4 * rng.randint(2, size=400) - 2 + 0.5 * rng.standard_normal(400))[:, None],
        "iris": load_iris().data,
    }[kind]
    model = VAETransformer(X.shape[1], random_state=seed).fit(X)
    assert r2_score(X, model.inverse_transform(model.transform(X))) > 0.95
    assert model.score(X) >= PCA(X.shape[1]).fit(X).score(X) - 0.1
    beyond = VAETransformer(X.shape[1] + 2, max_iter=5, random_state=seed).fit(X)
    assert r2_score(X, beyond.inverse_transform(beyond.transform(X))) > 0.95


@pytest.mark.parametrize("name", ["probabilistic_pca", "factor_analysis"])
def test_the_linear_model_of_as_many_components_is_the_whole_covariance(name):
    X = load_iris().data
    W, b, psi, *_ = linear_model(name, X, 4, 0)
    np.testing.assert_allclose(W @ W.T + np.diag(psi), np.cov(X.T), rtol=1e-9)
    np.testing.assert_allclose(b, X.mean(axis=0))


@pytest.mark.parametrize("noise", ["shared", "per_feature", 0.3])
def test_constant_columns_are_left_out_and_given_back(Estimator, noise):
    X = load_iris().data
    years = np.insert(X, [0, 2, 2, 4], [2019.0, 0.0, -1e-7, 1e6], axis=1)
    constant = np.array([0, 3, 4, 7])
    params = {"likelihood": Gaussian(noise), "max_iter": 10, "random_state": 0}
    model, plain = Estimator(2, **params).fit(years), Estimator(2, **params).fit(X)
    np.testing.assert_array_equal(model.transform(years), plain.transform(X))
    np.testing.assert_array_equal(model.score_samples(years), plain.score_samples(X))
    for rows in (model.sample(50, random_state=0), model.inverse_transform(model.transform(years))):
        np.testing.assert_array_equal(
            rows[:, constant], np.broadcast_to(years[0, constant], (len(rows), 4))
        )
    np.testing.assert_array_equal(model.scale_ == 0, np.isin(np.arange(8), constant))
    np.testing.assert_array_equal(model.noise_variance_[constant], 0)
    np.testing.assert_array_equal(np.delete(model.noise_variance_, constant), plain.noise_variance_)
    carried = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        carried.sample(5, random_state=0), model.sample(5, random_state=0)
    )
    np.testing.assert_allclose(model.partial_fit(years).mean_[constant], years[0, constant])


@pytest.mark.parametrize("c", [1.0, 1e3, 1e-3])
def test_a_plain_autoencoder_knows_no_units(c):
    rng = np.random.RandomState(0)
    X = c * (1.109 + 0.0012 * factor_rows(rng, 400, rng.standard_normal((5, 80)), noise=0.05))
    model = VAETransformer(5, **AUTOENCODER, max_iter=60, random_state=0).fit(X)
    assert r2_score(X, model.inverse_transform(model.transform(X))) > 0.995
    np.testing.assert_allclose(model.noise_variance_, 1.0, rtol=1e-5)
    held_out = VAETransformer(
        5, **AUTOENCODER, max_iter=3, early_stopping=False, random_state=0
    ).fit(X)
    squares = ((X - held_out.inverse_transform(held_out.transform(X))) ** 2).sum(axis=1).mean()
    assert held_out.best_loss_ == pytest.approx(40 * np.log(2 * np.pi) + squares / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("ranges", "alike"),
    [
        ([4.0, 5.0, 3.0], True),
        ([255.0] * 60 + [12.8] * 4, True),
        ([1.0, 1000.0, 30.0], False),
        ([1.0, 1.0, 6.0], False),
        ([1.0], True),
    ],
)
def test_when_columns_share_a_unit(ranges, alike):
    assert share_a_unit(np.array(ranges)) == alike


def test_columns_in_one_unit_keep_their_sizes():
    X = load_digits().data[:600]
    model = VAETransformer(8, max_iter=30, random_state=0).fit(X)
    assert len(np.unique(model.scale_[model.scale_ > 0])) == 1
    standardised = clone(model).set_params(standardize=True).fit(X)
    np.testing.assert_allclose(
        standardised.scale_[standardised.scale_ > 0], X.std(axis=0)[X.std(axis=0) > 0]
    )
    pca = PCA(8).fit(X)
    r2 = [
        r2_score(X, m.inverse_transform(m.transform(X)), multioutput="variance_weighted")
        for m in (model, pca)
    ]
    assert r2[0] > r2[1] + 0.05
    wine = VAETransformer(2, max_iter=1, random_state=0).fit(load_wine().data)
    np.testing.assert_allclose(wine.scale_, load_wine().data.std(axis=0))


# --- arrays of other types ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, bool])
def test_narrow_types_are_taken_as_they_are(Estimator, dtype):
    X = np.random.RandomState(0).randint(3, size=(100, 4)).astype(dtype)
    narrow, wide = (
        Estimator(2, max_iter=2, random_state=0).fit(rows) for rows in (X, X.astype(np.float64))
    )
    np.testing.assert_array_equal(narrow.transform(X), wide.transform(X.astype(np.float64)))
    assert narrow.transform(X).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16])
def test_memory_maps_of_narrow_types_are_converted_in_chunks(dtype, tmp_path):
    """The memory that a fit takes beside float32 rows is less than a float64 table would."""
    X = np.random.RandomState(0).randint(1, 255, (20_000, 100)).astype(dtype)
    np.save(tmp_path / "X.npy", X)
    on_disk = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = VAETransformer(2, hidden_layer_sizes=(), max_iter=1, random_state=0)
    tracemalloc.start()
    model.fit(on_disk).transform(on_disk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * on_disk.size + 4 * CHUNK * 8


# --- the order of components ----------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", ["diag", "spherical", "full", "ar1", "scaled_ar1"])
@pytest.mark.parametrize("hidden_layer_sizes", [(), (16,)])
def test_components_come_in_order_and_with_a_sign(covariance_type, hidden_layer_sizes):
    X = StandardScaler().fit_transform(load_wine().data)
    Estimator = RhoVAETransformer if "ar1" in covariance_type else VAETransformer
    params = {
        "covariance_type": covariance_type,
        "hidden_layer_sizes": hidden_layer_sizes,
        "max_iter": 20,
    }
    model = Estimator(5, **params, random_state=0).fit(X)
    Z, shares = model.transform(X), model.explained_variance_ratio_
    if covariance_type in ("diag", "spherical"):
        assert (np.diff(shares) <= 0).all()
    elif covariance_type != "full":
        assert shares @ [2, 1, 0, -1, -2] >= 0
    correlation = (Z - Z.mean(axis=0)).T @ (X - X.mean(axis=0))
    largest = correlation[np.arange(5), np.abs(correlation).argmax(axis=1)]
    assert (largest > 0).all() if "ar1" not in covariance_type else largest[0] > 0


@pytest.mark.parametrize("covariance_type", ["diag", "spherical", "full", "ar1", "scaled_ar1"])
def test_order_and_signs_change_no_density(covariance_type, monkeypatch):
    """With one draw at the mean, so that no deviate is paired with another component."""
    X = StandardScaler().fit_transform(load_wine().data)
    Estimator = RhoVAETransformer if "ar1" in covariance_type else VAETransformer
    ordered = Estimator(4, covariance_type=covariance_type, max_iter=20, random_state=0).fit(X)
    as_they_are = np.arange(4), np.ones(4)
    monkeypatch.setattr("sklearn_vae._base.loadings.put_in_order", lambda *args: as_they_are)
    plain = Estimator(4, covariance_type=covariance_type, max_iter=20, random_state=0).fit(X)
    for model in (ordered, plain):
        model.Z_ = model.transform(X)
        model.rebuilt_ = model.inverse_transform(model.Z_)
    np.testing.assert_allclose(ordered.rebuilt_, plain.rebuilt_, atol=1e-5)
    np.testing.assert_allclose(
        ordered.elbo(X, split=True).kl, plain.elbo(X, split=True).kl, rtol=1e-4, atol=1e-5
    )
    overlap = np.abs(np.corrcoef(ordered.Z_.T, plain.Z_.T)[:4, 4:])
    np.testing.assert_allclose(overlap.max(axis=1), 1, atol=1e-6)
    order = overlap.argmax(axis=1)
    shares, expected = (model.explained_variance_ratio_ for model in (ordered, plain))
    np.testing.assert_allclose(shares, expected[order], rtol=1e-4, atol=1e-6)
    turned = np.sign(np.corrcoef(ordered.Z_.T, plain.Z_.T)[np.arange(4), 4 + order])
    expected = turned[:, None] * plain.components_[order]
    np.testing.assert_allclose(ordered.components_, expected, rtol=1e-4, atol=1e-6)


# --- the user's process and callbacks -------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_fit_turns_gradients_on_for_itself(Estimator, mode):
    X = load_iris().data
    plain = Estimator(2, max_iter=3, random_state=0).fit(X)
    with mode():
        inside = Estimator(2, max_iter=3, random_state=0).fit(X)
    np.testing.assert_array_equal(inside.transform(X), plain.transform(X))
    assert np.isfinite(inside.partial_fit(X).score(X))


def test_torchs_default_precision_does_not_matter(Estimator):
    X = load_iris().data
    torch.set_default_dtype(torch.float64)
    try:
        model = Estimator(2, max_iter=3, random_state=0).fit(X)
        assert {weight.dtype for weight in model.net_.module_.parameters()} == {torch.float32}
        assert np.isfinite(pickle.loads(pickle.dumps(model)).partial_fit(X).score(X))
    finally:
        torch.set_default_dtype(torch.float32)


class Notebook(Callback):
    """The user's own object, with something that cannot be copied."""

    def __init__(self):
        self.file = open(__file__)  # noqa: SIM115
        self.stages, self.epochs = [], []

    def on_epoch_end(self, net, **kwargs):
        self.stages.append(net.stage_)
        self.epochs.append(len(net.history))


def test_callbacks_are_the_users_own_objects(Estimator):
    notebook = Notebook()
    net_params = {"callbacks": [notebook]}
    model = Estimator(2, max_iter=3, random_state=0, net_params=net_params).fit(load_wine().data)
    notebook.file.close()
    assert notebook.epochs == list(
        range(1, len(model.net_.history) + 1)
    )  # one number, which never goes back
    assert notebook.stages[:3] == ["first start"] * 3
    assert set(notebook.stages) <= {"first start", "second start", "refit"}
    assert model.n_iter_ <= 3


def test_early_stopping_that_loads_the_best_where_no_epoch_helped(Estimator):
    stop = EarlyStopping(patience=2, load_best=True)
    net_params = {"callbacks": [stop]}
    model = Estimator(
        2, learning_rate_init=1e-12, max_iter=5, random_state=0, net_params=net_params
    )
    assert np.isfinite(model.fit(load_wine().data).score(load_wine().data))


def test_a_schedule_begins_anew_with_each_stage(Estimator):
    seen = []

    class Rates(Callback):
        def on_epoch_begin(self, net, **kwargs):
            seen.append((net.stage_, net.optimizer_.param_groups[0]["lr"]))

    policy = LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1)
    net_params = {"callbacks": [policy, Rates()]}
    model = Estimator(2, max_iter=60, n_iter_no_change=2, random_state=0, net_params=net_params)
    model.fit(load_wine().data)
    rates = {stage: [rate for name, rate in seen if name == stage] for stage, _ in seen}
    np.testing.assert_allclose(rates["first start"][:3], [6e-3, 6e-4, 6e-5])
    if "refit" in rates:
        assert rates["refit"][0] == pytest.approx(3e-3)


def test_a_fit_that_max_iter_ends_says_so(Estimator):
    X = load_digits().data[:300]
    with pytest.warns(ConvergenceWarning, match="still improving when max_iter=3 ended it"):
        Estimator(4, max_iter=3, random_state=0).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        Estimator(2, learning_rate_init=1e-12, max_iter=3, random_state=0).fit(
            X
        )  # was not improving
        Estimator(2, random_state=0).fit(load_iris().data)


# --- conventions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"batch_size": np.int64(16)},
        {"n_components": np.int64(2), "hidden_layer_sizes": np.array([8, 8])},
        {"objective": ELBO(n_draws=np.int32(2)), "max_iter": np.int64(2)},
    ],
)
def test_integers_of_numpy(Estimator, params):
    model = Estimator(**{"max_iter": 2, "random_state": 0, **params}).fit(load_iris().data)
    assert pickle.loads(pickle.dumps(model)).transform(load_iris().data).shape == (150, 2)


def test_a_network_is_not_a_factory(Estimator):
    for name in ("encoder", "decoder"):
        with pytest.raises(ValueError, match=rf"{name} takes a factory f\(n_in, n_out\)"):
            Estimator(2, **{name: torch.nn.Linear(4, 4)}).fit(load_iris().data)


def test_the_linear_start_is_no_fit_of_the_users(monkeypatch):
    """Loggers wrap the public `fit` of scikit-learn's classes; one fit of ours is one run."""
    from sklearn.decomposition import FactorAnalysis

    def counted(fit):
        import functools

        @functools.wraps(fit)
        def wrapper(self, *args, **kwargs):
            calls.append(type(self).__name__)
            return fit(self, *args, **kwargs)

        return wrapper

    calls = []
    for cls in (PCA, FactorAnalysis, NearestNeighbors, StandardScaler):
        monkeypatch.setattr(cls, "fit", counted(cls.fit))
    for noise in ("shared", "per_feature", 0.5):
        VAETransformer(2, likelihood=Gaussian(noise), max_iter=2, random_state=0).fit(
            load_iris().data
        )
    assert not calls


# --- streams --------------------------------------------------------------------------------------


def test_moments_of_blocks_are_those_of_all_rows():
    X = np.random.RandomState(0).gamma(2.0, size=(100, 4)) @ np.random.RandomState(1).rand(4, 4)
    moments = Moments.of(X[:2])
    for rows in (X[2:3], X[3:40], X[40:]):
        moments = moments.with_rows(rows)
    for name, expected in Moments.of(X)._asdict().items():
        np.testing.assert_allclose(getattr(moments, name), expected, err_msg=name)
    alike = moments.scaled(X.mean(axis=0), X.std(axis=0)).rows_alike()
    np.testing.assert_allclose(np.cov(alike.T, bias=True), np.corrcoef(X.T), atol=1e-12)
    np.testing.assert_allclose(alike.mean(axis=0), 0, atol=1e-12)


@seeds
def test_a_stream_is_not_worse_off_for_its_first_block(seed):
    """Off centre and of another scale, or as small as can be."""
    rng = np.random.RandomState(seed)
    X = factor_rows(rng, 1000, rng.standard_normal((3, 10)))
    blocks = np.array_split(X, 10)
    blocks[0] = 0.7 * blocks[0] + 3
    X = np.vstack(blocks)
    first = {"off centre": blocks, "two rows": [blocks[3][:2], *blocks]}
    for name, order in first.items():
        model = VAETransformer(3, random_state=seed)
        for block in [*order, *(blocks[i] for i in rng.permutation(10))]:
            model.partial_fit(block)
        assert model.score(X) >= PCA(3).fit(X).score(X) - 0.5, name


def test_a_column_that_was_constant_in_the_first_block_is_taken_up(Estimator):
    rng = np.random.RandomState(0)
    X = factor_rows(rng, 300, rng.standard_normal((2, 5)))
    first = X[:50].copy()
    first[:, 2] = 7.0
    model = Estimator(2, random_state=0).partial_fit(first)
    assert model.scale_[2] == 0
    model.partial_fit(X[50:])
    assert (model.scale_ > 0).all()
    assert model.sample(100, random_state=0)[:, 2].std() > 0.5
    jitter = np.column_stack(
        [X, 0.1 + np.spacing(0.1) * rng.randint(2, size=300)]
    )  # constant but for rounding
    model = Estimator(2, random_state=0).partial_fit(jitter[:100]).partial_fit(jitter[100:110])
    assert model.scale_[5] == 0
    assert model._moments["looked_at"] == 100


def test_a_stream_keeps_no_row(Estimator):
    X = load_iris().data
    model = Estimator(2, random_state=0).partial_fit(X[:100]).partial_fit(X[100:])
    assert {np.shape(value) for value in model._moments.values()} == {(), (4,), (4, 4)}
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        again.partial_fit(X).transform(X), model.partial_fit(X).transform(X)
    )
    assert model.fit(X)._moments is None
