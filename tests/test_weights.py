"""Weights of rows: a row of weight 2 is two rows, a row of weight 0 is none."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.model_selection import (
    GridSearchCV,
    GroupShuffleSplit,
    StratifiedShuffleSplit,
    cross_validate,
)
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer
from sklearn_vae._base import data
from sklearn_vae._base.net import Spec, build_net
from sklearn_vae.batch import Batch
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.selection.evidence import verdict
from sklearn_vae.selection.linear import LINEAR_MODELS, Weighted, linear_model, mean_squares
from sklearn_vae.selection.missing import incomplete_model, incomplete_moments
from sklearn_vae.selection.moments import Moments

X_WINE, X_IRIS = load_wine().data, load_iris().data
STRATIFIED = StratifiedShuffleSplit(1, test_size=0.2, random_state=0)
GROUPED = GroupShuffleSplit(1, random_state=0)


def weights(n, seed=0):
    return np.random.RandomState(seed).randint(4, size=n)


def quick(Estimator, **params):
    defaults = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return Estimator(2, **{**defaults, **params})


# --- statistics -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINEAR_MODELS)
def test_linear_models_are_those_of_repeated_rows(name):
    rng = np.random.RandomState(0)
    x, w = StandardScaler().fit_transform(X_WINE), 1 + weights(len(X_WINE))
    if name == "log_linear":
        x = rng.poisson(3.0, x.shape).astype(float)
    given = np.full(13, 0.5) if name == "known_noise" else None
    weighted = linear_model(name, Weighted(x, w.astype(float)), 3, 0, given)
    repeated = linear_model(name, np.repeat(x, w, axis=0), 3, 0, given)
    for one, other in zip(weighted, repeated, strict=True):
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("ddof", [0, 1])
def test_rows_alike_have_the_covariance_of_the_weights(ddof):
    x, w = X_WINE, np.random.RandomState(0).random_sample(len(X_WINE))
    rows = Weighted(x, w).rows_alike(ddof)
    np.testing.assert_allclose(rows.mean(axis=0), np.average(x, axis=0, weights=w))
    expected = np.cov(x, rowvar=False, aweights=w, ddof=0) * len(x) / (len(x) - ddof)
    np.testing.assert_allclose(np.cov(rows, rowvar=False, ddof=ddof), expected, rtol=1e-8)


@pytest.mark.parametrize("name", ["probabilistic_pca", "factor_analysis", "log_linear", "mean"])
def test_linear_models_of_incomplete_rows_are_those_of_repeated_rows(name):
    rng = np.random.RandomState(0)
    x, w = StandardScaler().fit_transform(X_WINE), 1 + weights(len(X_WINE))
    x = rng.poisson(3.0, x.shape).astype(float) if name == "log_linear" else x
    x[rng.random_sample(x.shape) < 0.2] = np.nan
    weighted = incomplete_model(name, x, 2, weight=w.astype(float), exact=True)
    repeated = incomplete_model(name, np.repeat(x, w, axis=0), 2, exact=True)
    for one, other in zip(weighted, repeated, strict=True):
        if one is not None:
            one, other = (part @ part.T if part.ndim == 2 else part for part in (one, other))
            np.testing.assert_allclose(one, other, atol=1e-3)


def test_moments_are_those_of_repeated_rows():
    w = 1 + weights(len(X_WINE))
    repeated = np.repeat(X_WINE, w, axis=0)
    for one, other in (
        (Moments.of(X_WINE, w), Moments.of(repeated)),
        (Moments.of(X_WINE).with_rows(X_WINE, w), Moments.of(X_WINE).with_rows(repeated)),
        (incomplete_moments(X_WINE, w), incomplete_moments(repeated)),
    ):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10)


def test_means_of_a_batch_are_those_of_repeated_rows():
    x, w = torch.from_numpy(X_IRIS), torch.from_numpy(weights(150)).double()
    rows, repeated = Batch(x, weight=w), Batch(x.repeat_interleave(w.long(), 0))
    torch.testing.assert_close(rows.mean(x), repeated.mean(repeated.x))
    torch.testing.assert_close(rows.weighed(x[:, 0]).mean(), repeated.x[:, 0].mean())
    model = quick(VAETransformer).fit(X_IRIS)
    module = model.net_.module_in(torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(mean_squares(module, rows), mean_squares(module, repeated))


def test_the_loss_is_that_of_repeated_rows():
    params = VAETransformer(2, hidden_layer_sizes=(8,)).get_params(deep=False)
    net = build_net(Spec.of(params), np.ones(4), torch.device("cpu"), seed=0)
    x, w = torch.from_numpy(X_IRIS).float(), torch.from_numpy(weights(150))
    eps = torch.randn(150, 2, generator=torch.Generator().manual_seed(0))
    rows, repeated = Batch(x, weight=w.float()), Batch(x.repeat_interleave(w, 0))
    losses, gradients = [], []
    for batch, deviates in ((rows, eps), (repeated, eps.repeat_interleave(w, 0))):
        losses.append(net.get_loss(net.run_module(batch, deviates), batch.x, X=batch))
        gradients.append(torch.autograd.grad(losses[-1], list(net.module_.parameters())))
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_verdict_does_not_ask_how_weights_are_scaled():
    gain = torch.randn(400, generator=torch.Generator().manual_seed(0)) + 0.3
    w = torch.from_numpy(weights(400)).float()
    for scale in (1e-3, 1.0, 1e3):
        rows = Batch(gain[:, None], weight=scale * w)
        assert verdict(rows.weighed(gain)) == 1
        assert verdict(rows.weighed(gain - 0.3)) == 0


# --- fits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("holes", [False, True])
def test_integer_weights_are_repeated_rows(Estimator, holes):
    X, w = np.random.RandomState(2).standard_normal((120, 5)), weights(120)
    if holes:
        X[np.random.RandomState(1).random_sample(X.shape) < 0.2] = np.nan
    weighted = quick(Estimator, max_iter=8).fit(X, sample_weight=w)
    repeated = quick(Estimator, max_iter=8).fit(np.repeat(X, w, axis=0))
    np.testing.assert_array_equal(weighted.transform(X), repeated.transform(X))
    assert weighted.loss_curve_ == repeated.loss_curve_


def test_a_weight_of_zero_is_absence(Estimator):
    w = np.arange(150) % 3 > 0
    weighted = quick(Estimator).fit(X_IRIS, sample_weight=w)
    without = quick(Estimator).fit(X_IRIS[w], sample_weight=np.ones(w.sum()))
    np.testing.assert_array_equal(weighted.transform(X_IRIS), without.transform(X_IRIS))
    fewer = quick(Estimator).fit(np.vstack([X_IRIS, X_IRIS]), sample_weight=np.append(w, 0 * w))
    np.testing.assert_array_equal(weighted.transform(X_IRIS), fewer.transform(X_IRIS))


def in_memory(X, tmp_path):
    return X


def on_disk(X, tmp_path):
    path = tmp_path / f"{len(X)}.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


def in_csr(X, tmp_path):
    return sparse.csr_array(X)


@pytest.mark.parametrize(
    ("table", "rest", "params"),
    [
        (in_memory, {"groups": np.arange(150) // 2}, {}),
        (in_memory, {"y": load_iris().target}, {"early_stopping": STRATIFIED}),
        (in_memory, {"groups": np.arange(150) // 2}, {"early_stopping": GROUPED}),
        (in_memory, {"X_val": X_IRIS[::3]}, {}),
        (on_disk, {}, {}),
        (on_disk, {"y": load_iris().target}, {"early_stopping": STRATIFIED}),
        (in_csr, {}, {}),
        (in_csr, {"groups": np.arange(150) // 2}, {}),
    ],
)
def test_a_weight_of_zero_is_absence_wherever_rows_are(
    Estimator, table, rest, params, tmp_path, monkeypatch
):
    """With groups, a splitter or rows on disk no row of weight 0 is held out or trained on."""
    monkeypatch.setattr(data, "IN_MEMORY", 0)
    monkeypatch.setattr(data, "SMALL", 0)
    w = np.random.RandomState(0).randint(3, size=150).astype(float)
    X = np.where((w > 0)[:, None], X_IRIS, 1e3)
    kept = {name: value if name == "X_val" else value[w > 0] for name, value in rest.items()}
    model = quick(Estimator, **params)
    weighted = model.fit(table(X, tmp_path), sample_weight=w, **rest).transform(X_IRIS)
    without = model.fit(table(X[w > 0], tmp_path), sample_weight=w[w > 0], **kept)
    np.testing.assert_array_equal(weighted, without.transform(X_IRIS))


def test_equal_weights_are_none(Estimator):
    one = quick(Estimator).fit(X_IRIS)
    for w in (np.ones(150), np.full(150, 1, dtype=int)):
        other = quick(Estimator).fit(X_IRIS, sample_weight=w)
        np.testing.assert_array_equal(one.transform(X_IRIS), other.transform(X_IRIS))


def test_in_the_mean_over_seeds_they_are_repeated_rows_taken_apart():
    """Groups keep copies apart from one another, so that they are rows of their own."""
    X, w = StandardScaler().fit_transform(X_WINE), 1 + weights(len(X_WINE))
    ids, scores = np.arange(len(X)), []
    for seed in range(8):
        model = VAETransformer(
            2, hidden_layer_sizes=(16,), batch_size=1000, max_iter=30, random_state=seed
        )
        one = clone(model).fit(X, sample_weight=w, groups=ids)
        other = clone(model).fit(np.repeat(X, w, axis=0), groups=np.repeat(ids, w))
        scores.append([fit.score(X, sample_weight=w) for fit in (one, other)])
    difference = np.subtract(*np.transpose(scores))
    assert abs(difference.mean()) < 2 * difference.std(ddof=1) / 8**0.5 + 0.02


def test_rows_that_count_more_are_modelled_better(Estimator):
    rng = np.random.RandomState(0)
    X = np.vstack([rng.standard_normal((200, 4)), 3 + 0.3 * rng.standard_normal((200, 4))])
    w = np.repeat([1.0, 50.0], 200)
    plain, weighted = (
        Estimator(2, standardize=False, max_iter=30, random_state=0).fit(X, sample_weight=s)
        for s in (None, w)
    )
    assert weighted.score(X[200:]) > plain.score(X[200:])
    assert weighted.score(X, sample_weight=w) > plain.score(X, sample_weight=w)
    expected = np.average(weighted.score_samples(X), weights=w)
    assert weighted.score(X, sample_weight=w) == pytest.approx(expected)


def test_noise_counts_them():
    """The variance of a column is that of the rows that count."""
    rng = np.random.RandomState(0)
    X = np.vstack([rng.standard_normal((300, 3)), 10 * rng.standard_normal((300, 3))])
    w = np.repeat([1.0, 1e-6], 300)
    model = VAETransformer(
        1, likelihood=Gaussian("per_feature"), hidden_layer_sizes=(), random_state=0
    ).fit(X, sample_weight=w)
    assert model.noise_variance_.max() < 2


@pytest.mark.parametrize("table", [in_memory, on_disk, in_csr])
def test_streams_count_them(Estimator, table, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "IN_MEMORY", 0)
    monkeypatch.setattr(data, "SMALL", 0)
    X = np.random.RandomState(0).standard_normal((200, 3))
    w = np.repeat([1.0, 0.0], 100)
    one, other = quick(Estimator), quick(Estimator)
    whole, half = table(X, tmp_path), table(X[:100], tmp_path)
    one.partial_fit(whole, sample_weight=w).partial_fit(whole, sample_weight=w)
    other.partial_fit(half).partial_fit(half)
    np.testing.assert_allclose(one.score_samples(X), other.score_samples(X), atol=1e-4)


@pytest.mark.parametrize(
    ("w", "said"),
    [
        (-np.ones(150), "negative"),
        (np.zeros(150), "zero"),
        (np.full(150, np.nan), "NaN"),
        (np.ones(10), "shape"),
        (np.ones((150, 2)), "1D"),
        (np.eye(1, 150)[0], "leaves 1 row"),
    ],
    ids=["negative", "zero", "nan", "short", "table", "a single row"],
)
def test_bad_weights(Estimator, w, said):
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=f"(?i){said}"):
            getattr(quick(Estimator), method)(X_IRIS, sample_weight=w)


def test_routing(Estimator):
    w = 1.0 + weights(150)
    with config_context(enable_metadata_routing=True):
        model = quick(Estimator).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        scores = cross_validate(model, X_IRIS, params={"sample_weight": w}, cv=3)["test_score"]
        assert np.isfinite(scores).all()
        grid = GridSearchCV(model, {"n_components": [1, 2]}, cv=2)
        assert np.isfinite(grid.fit(X_IRIS, sample_weight=w).best_score_)
