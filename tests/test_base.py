"""The face of the estimators: numbers, bad input, randomness, persistence, continuation."""

import copy
import pickle
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score

from sklearn_vae.batch import Batch
from sklearn_vae.datasets import make_sine_sum
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.objectives import ELBO, IWAE
from sklearn_vae.training import Rows

X_IRIS = load_iris().data
OUTPUTS = ("transform", "score_samples", "elbo")


def quick(Estimator, **params):
    return Estimator(
        **{
            "n_components": 2,
            "hidden_layer_sizes": (16,),
            "max_iter": 5,
            "random_state": 0,
            **params,
        }
    )


@pytest.fixture
def fitted(Estimator):
    return quick(Estimator).fit(X_IRIS)


def assert_same_outputs(a, b, X=X_IRIS):
    for name in OUTPUTS:
        np.testing.assert_array_equal(getattr(a, name)(X), getattr(b, name)(X))


# --- numbers --------------------------------------------------------------------------------------


def test_shapes_dtypes_and_types(fitted):
    for dtype in (np.float64, np.float32):
        X = X_IRIS.astype(dtype)
        Z = fitted.transform(X)
        mean, covariance = fitted.posterior(X)
        assert Z.shape == (150, 2)
        assert fitted.inverse_transform(Z).shape == X.shape
        assert covariance.shape == (150, 2, 2)
        np.testing.assert_array_equal(mean, Z)
        np.testing.assert_allclose(covariance, covariance.transpose(0, 2, 1))
        assert {
            a.dtype for a in (Z, fitted.inverse_transform(Z), covariance, fitted.score_samples(X))
        } == {np.dtype(dtype)}
    assert type(fitted.score(X_IRIS)) is float
    assert fitted.score(X_IRIS) == pytest.approx(fitted.score_samples(X_IRIS).mean())
    assert fitted.sample().shape == (1, 4)
    assert fitted.sample(7, random_state=1).shape == (7, 4)
    assert list(fitted.get_feature_names_out()) == [
        f"{type(fitted).__name__.lower()}{i}" for i in range(2)
    ]


def test_fitted_attributes(Estimator):
    estimator = quick(Estimator, early_stopping=True).fit(X_IRIS)
    assert (
        estimator.n_iter_
        == len(estimator.loss_curve_)
        == len(estimator.validation_loss_curve_)
        <= 5
    )
    assert estimator.loss_ == estimator.loss_curve_[-1]
    best = estimator.net_.keep_best_.best_epoch_
    assert best == 0 or estimator.best_loss_ == estimator.validation_loss_curve_[best - 1]
    assert estimator.noise_variance_.shape == (4,)
    assert estimator.device_ == next(estimator.net_.module_.parameters()).device
    assert quick(Estimator, early_stopping=False).fit(X_IRIS).validation_loss_curve_ is None


def test_a_refit_leaves_no_attribute_of_another_likelihood(Estimator):
    estimator = quick(Estimator).fit(X_IRIS)
    assert hasattr(estimator, "noise_variance_")
    estimator.set_params(likelihood="negative_binomial").fit(X_IRIS.round())
    assert not hasattr(estimator, "noise_variance_")
    assert estimator.dispersion_.shape == (4,)
    estimator.set_params(likelihood="heteroscedastic_gaussian").fit(X_IRIS)
    assert not hasattr(estimator, "noise_variance_")
    assert not hasattr(estimator, "dispersion_")


@pytest.mark.parametrize(("noise", "Linear"), [("shared", PCA), ("per_feature", FactorAnalysis)])
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("standardize", [True, "auto"])
def test_the_linear_start_is_the_linear_model(Estimator, noise, Linear, d, standardize):
    """Before any step the score is that of PCA or factor analysis.

    On scaled or, in one unit, raw columns.
    """
    X = load_digits().data[:, 20:30]
    start = {
        "hidden_layer_sizes": (),
        "learning_rate_init": 1e-12,
        "max_iter": 1,
        "early_stopping": False,
    }
    estimator = Estimator(d, likelihood=Gaussian(noise), standardize=standardize, **start).fit(X)
    scale = X.std(0) if standardize is True else np.ones(10)
    scaled = (X - X.mean(0)) / scale
    linear = Linear(d, **({} if Linear is PCA else {"tol": 1e-6, "max_iter": 5000})).fit(scaled)
    expected = linear.score(scaled) - np.log(scale).sum()
    tolerance = (
        2e-3 if Linear is FactorAnalysis else 1e-3
    )  # the start stops at FactorAnalysis' own tolerance
    assert estimator.score(X) == pytest.approx(expected, abs=len(X.T) * tolerance)
    X = X[::6]
    np.testing.assert_allclose(
        estimator.elbo(X, n_draws=4096).mean(), estimator.score(X), atol=0.02
    )


@pytest.mark.parametrize("noise", ["shared", "per_feature", "predicted", 0.2])
def test_score_is_in_the_units_of_X(Estimator, noise):
    """A refit on c X changes the score by -D log c.

    It is the same net, but for the rounding of float32.
    """
    c = 1000.0
    in_units = [noise, noise * c**2 if type(noise) is float else noise]
    one, other = (
        quick(
            Estimator,
            likelihood="heteroscedastic_gaussian" if noise == "predicted" else Gaussian(value),
        ).fit(X)
        for value, X in zip(in_units, (X_IRIS, c * X_IRIS), strict=True)
    )
    assert other.score(c * X_IRIS) == pytest.approx(one.score(X_IRIS) - 4 * np.log(c), abs=1e-3)
    assert other.best_loss_ == pytest.approx(one.best_loss_ + 4 * np.log(c), abs=1e-3)
    if noise != "predicted":
        np.testing.assert_allclose(other.noise_variance_, c**2 * one.noise_variance_, rtol=1e-3)
    rebuilt = other.inverse_transform(other.transform(c * X_IRIS)) / c
    np.testing.assert_allclose(rebuilt, one.inverse_transform(one.transform(X_IRIS)), rtol=1e-3)


def test_fixed_noise_is_in_the_units_of_X(Estimator):
    estimator = quick(Estimator, likelihood=Gaussian(0.25)).fit(X_IRIS)
    np.testing.assert_allclose(estimator.noise_variance_, 0.25, rtol=1e-5)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_stacking_a_batch_on_itself_leaves_the_loss(Estimator, likelihood):
    X = (X_IRIS.mean(0) < X_IRIS).astype(float)
    estimator = quick(Estimator, likelihood=likelihood).fit(X)
    for name in ("elbo", "score_samples"):
        once, twice = getattr(estimator, name)(X), getattr(estimator, name)(np.vstack([X, X]))
        np.testing.assert_allclose(twice, np.tile(once, 2), rtol=1e-12)
    assert estimator.score(np.vstack([X, X])) == pytest.approx(estimator.score(X), rel=1e-12)


@pytest.mark.parametrize("name", ["score_samples", "elbo", "transform"])
def test_a_row_does_not_depend_on_the_others(Estimator, name):
    X = load_digits().data
    function = getattr(
        quick(Estimator, hidden_layer_sizes=(50, 30), n_components=5).fit(X[:200]), name
    )
    together, order = function(X), np.random.RandomState(0).permutation(len(X))
    same = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)
    same(function(X[order]), together[order])
    same(function(X[3:4]), together[3:4])
    same(function(X[::7]), together[::7])


def test_a_row_does_not_depend_on_the_chunk(Estimator, monkeypatch):
    estimator = quick(Estimator).fit(X_IRIS)
    whole = {name: getattr(estimator, name)(X_IRIS) for name in OUTPUTS}
    monkeypatch.setattr("sklearn_vae._base.data.CHUNK", 5000)
    for name, expected in whole.items():
        np.testing.assert_allclose(
            getattr(estimator, name)(X_IRIS), expected, rtol=1e-12, atol=1e-14
        )


def test_samples_have_the_moments_of_the_data(Estimator):
    estimator = Estimator(2, random_state=0).fit(X_IRIS)
    X = estimator.sample(5000, random_state=0)
    np.testing.assert_allclose(X.mean(0), X_IRIS.mean(0), atol=0.5 * X_IRIS.std(0).min())
    np.testing.assert_allclose(X.std(0), X_IRIS.std(0), rtol=0.25)
    smooth = estimator.sample(5000, random_state=0, noise=False)
    assert (smooth.var(0) < X.var(0)).all()


@pytest.mark.parametrize("seed", range(3))
def test_sine_surface_on_defaults(Estimator, seed):
    """A curved surface, whose linear spectrum is flat: training must not collapse on it."""
    X = make_sine_sum(1000, noise=0.05, random_state=seed, surface=True)
    estimator = Estimator(n_components=2, random_state=seed).fit(X)
    rebuilt = estimator.inverse_transform(estimator.transform(X))
    for average in (
        "uniform_average",
        "variance_weighted",
    ):  # with each column standardised, and as they come
        assert r2_score(X, rebuilt, multioutput=average) > 0.99


def test_custom_networks(Estimator):
    estimator = quick(Estimator, encoder=small_network, decoder=small_network).fit(X_IRIS)
    assert isinstance(estimator.net_.module_.encoder.net[1], torch.nn.Tanh)
    assert np.isfinite(estimator.score(X_IRIS))
    assert_same_outputs(pickle.loads(pickle.dumps(estimator)), estimator)


def small_network(n_in, n_out):
    return torch.nn.Sequential(torch.nn.Linear(n_in, 8), torch.nn.Tanh(), torch.nn.Linear(8, n_out))


def test_bernoulli(Estimator):
    X = (load_digits().data[:600] > 8).astype(float)
    estimator = Estimator(8, likelihood="bernoulli", random_state=0, max_iter=20).fit(X)
    frequency = X.mean(0).clip(1e-3, 1 - 1e-3)
    independent = np.mean((X * np.log(frequency) + (1 - X) * np.log1p(-frequency)).sum(1))
    assert estimator.score(X) > independent + 2
    mean = estimator.inverse_transform(estimator.transform(X))
    assert mean.min() >= 0
    assert mean.max() <= 1
    assert set(np.unique(estimator.sample(10, random_state=0))) == {0.0, 1.0}
    assert not hasattr(estimator, "noise_variance_")


# --- bad input ------------------------------------------------------------------------------------


def test_awkward_but_lawful_data(Estimator):
    rng = np.random.RandomState(0)
    base = rng.standard_normal((40, 3))
    lawful = {
        "one feature": base[:, :1],
        "constant features": np.column_stack([base, np.full(40, 7.0), np.zeros(40)]),
        "all constant": np.full((40, 3), 2.0),
        "duplicated columns": np.hstack([base, base]),
        "mixed scales": base * [1e6, 1.0, 1e-6],
        "large offset": base + 1e6,
        "more features than samples": rng.standard_normal((10, 30)),
        "two samples": base[:2],
        "fewer samples than a batch": base[:5],
        "a remainder of one": rng.standard_normal((129, 3)),
    }
    for name, X in lawful.items():
        estimator = quick(Estimator, n_components=2).fit(X)
        assert np.isfinite(estimator.transform(X)).all(), name
        assert np.isfinite(estimator.score(X)), name
        assert np.isfinite(estimator.sample(5, random_state=0)).all(), name
    more = quick(Estimator, n_components=6).fit(base)
    assert more.transform(base).shape == (40, 6)
    assert np.isfinite(more.score(base))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[1.0, np.inf], [2.0, 3.0]], "infinity"),
        (np.array([[1.0 + 1j, 2.0], [2.0, 3.0]]), "Complex data"),
        ([["a", "b"], ["c", "d"]], "could not convert string"),
        ([[1.0, 2.0]], "minimum of 2 is required"),
        (np.empty((5, 0)), r"0 feature\(s\)"),
        ([1.0, 2.0], "2D array"),
        (np.array([[1.0], [1e300], [-1e300]]), "Column 0 of X has values of which the variance"),
        (np.array([[1e-200], [3e-200], [0.0]]), "Column 0 of X has values of which the variance"),
    ],
)
def test_bad_data(Estimator, X, message):
    with pytest.raises(ValueError, match=message):
        quick(Estimator).fit(X)


def test_float32_overflow_without_standardization(Estimator):
    with pytest.raises(ValueError, match=r"Column 1 of X .*float32"):
        quick(Estimator, standardize=False).fit([[1.0, 2.0], [2.0, 1e300], [1.0, 3.0]])


@pytest.mark.parametrize("bad", [-1.0, 1.5])
def test_bernoulli_takes_only_the_unit_interval(Estimator, bad):
    import pandas as pd

    X = pd.DataFrame(np.random.RandomState(0).rand(20, 3).round(), columns=["a", "b", "c"])
    estimator = quick(Estimator, likelihood="bernoulli").fit(X)
    X.loc[4, "b"] = bad
    for call in (clone(estimator).fit, estimator.transform, estimator.score):
        with pytest.raises(ValueError, match=rf"column 'b' of X has {bad} in row 4.*MinMaxScaler"):
            call(X)


def test_wrong_number_of_columns(fitted):
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4 features"):
        fitted.transform(X_IRIS[:, :3])
    with pytest.raises(ValueError, match=r"takes Z of 2 components.* has 3 columns"):
        fitted.inverse_transform(X_IRIS[:, :3])


@pytest.mark.parametrize(
    ("parameter", "value", "known"),
    [
        ("activation", "swish", "silu"),
        ("likelihood", "poison", "bernoulli"),
        ("likelihood", Gaussian("each"), "per_feature"),
        ("covariance_type", "banana", "ar1|diag"),
        ("init", "pca", "random"),
        ("device", "abacus", "cpu"),
        ("device", "cuda:99", "cpu"),
        ("n_components", 0, "1"),
        ("n_components", 1.5, "int"),
        ("likelihood", Gaussian(-1.0), "above 0"),
        ("likelihood", Gaussian(noise_growth=-1.0), "at least 0"),
        ("objective", ELBO(beta=-1.0), "at least 0"),
        ("objective", IWAE(n_draws=0), "an integer of at least 1"),
        ("hidden_layer_sizes", (16, 0), "positive"),
        ("hidden_layer_sizes", (16.5,), "positive"),
        ("net_class", dict, "VAENet"),
    ],
)
def test_unknown_options_are_told_what_is_known(Estimator, parameter, value, known):
    with pytest.raises(ValueError, match=f"(?s){parameter}.*({known})"):
        quick(Estimator, **{parameter: value}).fit(X_IRIS)


@pytest.mark.parametrize(
    "method", ["transform", "inverse_transform", "score", "score_samples", "elbo", "posterior"]
)
def test_unfitted(Estimator, method):
    with pytest.raises(NotFittedError):
        getattr(Estimator(), method)(X_IRIS)
    with pytest.raises(NotFittedError):
        Estimator().sample()


def test_held_out_rows_must_leave_some_to_train_on(Estimator):
    with pytest.raises(ValueError, match="early_stopping"):
        quick(Estimator, early_stopping=True, validation_fraction=0.9).fit(X_IRIS[:5])


@pytest.mark.parametrize("n_samples", [0, -1, 2.5])
def test_sample_counts(fitted, n_samples):
    with pytest.raises(ValueError, match="n_samples"):
        fitted.sample(n_samples)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_failure_leaves_the_model_as_it_was(Estimator, method):
    estimator = quick(Estimator, warm_start=True).fit(X_IRIS)
    before, names = clone_outputs(estimator), set(vars(estimator))
    estimator.set_params(learning_rate_init=1e30, batch_size=10)
    with pytest.raises(ValueError, match="Lower learning_rate_init"):
        getattr(estimator, method)(X_IRIS)
    assert set(vars(estimator)) == names
    for name, value in clone_outputs(estimator).items():
        np.testing.assert_array_equal(value, before[name])


def clone_outputs(estimator):
    return {name: getattr(estimator, name)(X_IRIS) for name in OUTPUTS}


def test_a_failed_first_fit_leaves_nothing(Estimator):
    estimator = quick(Estimator, learning_rate_init=1e30)
    with pytest.raises(ValueError, match="loss became"):
        estimator.fit(X_IRIS)
    assert not [name for name in vars(estimator) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        estimator.transform(X_IRIS)


def test_ctrl_c_interrupts_fit(Estimator):
    from skorch.callbacks import Callback

    class CtrlC(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    estimator = quick(Estimator, net_params={"callbacks": [CtrlC()]})
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X_IRIS)
    assert not hasattr(estimator, "net_")


# --- randomness -----------------------------------------------------------------------------------


def fit_transform_afresh(Estimator):
    return quick(Estimator).fit(X_IRIS).transform(X_IRIS)


def test_same_seed_same_result(Estimator):
    expected = fit_transform_afresh(Estimator)
    np.testing.assert_array_equal(fit_transform_afresh(Estimator), expected)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(fit_transform_afresh, [Estimator] * 4):
            np.testing.assert_array_equal(result, expected)
    for result in joblib.Parallel(n_jobs=2)(
        joblib.delayed(fit_transform_afresh)(Estimator) for _ in range(2)
    ):
        np.testing.assert_array_equal(result, expected)
    drawn = [
        quick(Estimator, init="random", random_state=seed).fit(X_IRIS).transform(X_IRIS)
        for seed in (0, 1)
    ]
    assert not np.array_equal(*drawn)


def test_same_seed_same_result_in_a_fresh_process(Estimator, tmp_path):
    code = (
        "import sys, numpy as np; from sklearn.datasets import load_iris; import sklearn_vae;"
        f"E = sklearn_vae.{Estimator.__name__}; X = load_iris().data;"
        "m = E(n_components=2, hidden_layer_sizes=(16,), max_iter=5, random_state=0).fit(X);"
        "np.save(sys.argv[1], m.transform(X))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "z.npy")], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), fit_transform_afresh(Estimator))


@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize("networks", [{}, {"encoder": small_network, "decoder": small_network}])
def test_global_streams_are_left_alone(Estimator, random_state, networks):
    def streams():
        return random.getstate(), np.random.get_state(), torch.get_rng_state()

    before = streams()
    estimator = quick(Estimator, random_state=random_state, early_stopping=True, **networks).fit(
        X_IRIS
    )
    estimator.partial_fit(X_IRIS).transform(X_IRIS)
    estimator.sample(5, random_state=random_state)
    estimator.score(X_IRIS)
    pickle.loads(pickle.dumps(estimator))
    after = streams()
    assert before[0] == after[0]
    np.testing.assert_array_equal(before[1][1], after[1][1])
    assert before[1][2] == after[1][2]
    assert torch.equal(before[2], after[2])


def test_random_state_instances_and_none(Estimator):
    one = quick(Estimator, random_state=np.random.RandomState(3)).fit(X_IRIS)
    same = quick(Estimator, random_state=np.random.RandomState(3)).fit(X_IRIS)
    assert_same_outputs(one, same)
    assert not np.array_equal(one.sample(3), one.sample(3))
    np.testing.assert_array_equal(one.sample(3, random_state=1), same.sample(3, random_state=1))


# --- persistence and continuation -----------------------------------------------------------------


def via_pickle(estimator, tmp_path):
    return pickle.loads(pickle.dumps(estimator))


def via_joblib(estimator, tmp_path):
    joblib.dump(estimator, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib")


def via_memory_map(estimator, tmp_path):
    joblib.dump(estimator, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib", mmap_mode="r")


def via_deepcopy(estimator, tmp_path):
    return copy.deepcopy(estimator)


def via_process(estimator, tmp_path):
    joblib.dump(estimator, tmp_path / "there.joblib")
    code = "import sys, joblib; joblib.dump(joblib.load(sys.argv[1]), sys.argv[2])"
    paths = [str(tmp_path / name) for name in ("there.joblib", "back.joblib")]
    subprocess.run([sys.executable, "-c", code, *paths], check=True)
    return joblib.load(paths[1])


@pytest.mark.parametrize(
    "carry", [via_pickle, via_joblib, via_memory_map, via_deepcopy, via_process]
)
def test_carried_models_are_equal_and_go_on_alike(fitted, carry, tmp_path):
    carried = carry(fitted, tmp_path)
    assert_same_outputs(carried, fitted)
    assert carried.loss_curve_ == fitted.loss_curve_
    np.testing.assert_array_equal(
        carried.sample(4, random_state=0), fitted.sample(4, random_state=0)
    )
    assert_same_outputs(carried.partial_fit(X_IRIS), fitted.partial_fit(X_IRIS))


def test_the_state_is_plain_data(fitted):
    def kinds(value):
        if isinstance(value, dict):
            return set().union(*map(kinds, value.values()))
        if isinstance(value, (list, tuple)):
            return set().union(*map(kinds, value)) if value else set()
        return {type(value)}

    state = fitted.__getstate__()
    assert kinds(state) <= {np.ndarray, np.float64, int, float, str, bool, type(None)}
    assert len(pickle.dumps(fitted)) < 60_000


@pytest.mark.parametrize("damage", ["missing", "left over", "shape", "finite", "format"])
def test_a_damaged_state_is_refused(fitted, damage):
    state = copy.deepcopy(fitted.__getstate__())
    weights = state["net_"]["module"]
    name = next(iter(weights))
    if damage == "missing":
        del weights[name]
    elif damage == "left over":
        weights["extra"] = np.zeros(3)
    elif damage == "shape":
        weights[name] = weights[name][None]
    elif damage == "finite":
        weights[name] = np.full_like(weights[name], np.nan)
    else:
        state["net_"]["format"] = 99
    blank = type(fitted)()
    with pytest.raises(
        ValueError,
        match={"missing": name, "left over": "extra", "shape": "shape", "finite": "not finite"}.get(
            damage, "99"
        ),
    ):
        blank.__setstate__(state)
    assert not hasattr(blank, "net_")


def test_parameters_changed_after_fit_do_not_break_the_model(fitted):
    expected = fitted.transform(X_IRIS)
    fitted.set_params(n_components=7, hidden_layer_sizes=(3,), likelihood="bernoulli")
    np.testing.assert_array_equal(fitted.transform(X_IRIS), expected)
    carried = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(carried.transform(X_IRIS), expected)
    assert carried.n_components == 7
    with pytest.raises(ValueError, match="another n_components, hidden_layer_sizes, likelihood"):
        fitted.partial_fit(X_IRIS)


def test_warm_start_goes_on(Estimator):
    estimator = quick(Estimator, warm_start=True, early_stopping=False, init="random").fit(X_IRIS)
    first = list(estimator.loss_curve_)
    estimator.fit(X_IRIS)
    assert estimator.loss_curve_[:5] == first
    assert estimator.n_iter_ == 10
    assert estimator.loss_ < first[-1]
    cold = quick(Estimator, early_stopping=False).fit(X_IRIS)
    assert cold.fit(X_IRIS).n_iter_ == 5


def test_partial_fit_learns_and_can_take_single_rows(Estimator):
    X = np.random.RandomState(0).permutation(X_IRIS)
    estimator = quick(Estimator, hidden_layer_sizes=())
    scores = [
        estimator.partial_fit(block).score(X) for _ in range(30) for block in np.array_split(X, 3)
    ]
    assert scores[-1] > scores[0]
    assert estimator.n_iter_ == 90
    estimator.partial_fit(X[:1])
    with pytest.raises(ValueError, match="minimum of 2"):
        quick(Estimator).partial_fit(X[:1])


def test_early_stopping_keeps_the_best_weights(Estimator):
    estimator = quick(
        Estimator, max_iter=200, n_iter_no_change=3, early_stopping=True, learning_rate_init=0.05
    ).fit(X_IRIS)
    assert estimator.n_iter_ < 200
    assert estimator.best_loss_ < estimator.validation_loss_curve_[-1]


# --- devices --------------------------------------------------------------------------------------


def test_device_is_the_cpu_where_it_is_said(Estimator):
    assert quick(Estimator, device="cpu").fit(X_IRIS).device_ == torch.device("cpu")


def test_a_model_from_another_device_is_loaded_on_the_cpu(fitted):
    """As from a GPU: its state says cuda, and there is none here."""
    if torch.cuda.is_available():
        pytest.skip("has a CUDA device")
    state = fitted.__getstate__()
    state["_spec"] = {**state["_spec"], "device": "cuda:0"}
    carried = type(fitted)()
    with pytest.warns(UserWarning, match=r"cuda:0.*not available.*loaded on the CPU"):
        carried.__setstate__(state)
    assert_same_outputs(carried, fitted)


@pytest.mark.gpu
def test_accelerator_agrees_with_the_cpu(Estimator, accelerator):
    X = X_IRIS.astype(np.float32)
    there = quick(Estimator, device=accelerator, hidden_layer_sizes=(64, 64), max_iter=50).fit(X)
    here = quick(Estimator, device="cpu", hidden_layer_sizes=(64, 64), max_iter=50).fit(X)
    assert there.device_.type == accelerator.split(":")[0]
    assert there.score(X) == pytest.approx(here.score(X), abs=0.3)
    carried = pickle.loads(pickle.dumps(there))
    np.testing.assert_array_equal(carried.transform(X), there.transform(X))


# --- large data -----------------------------------------------------------------------------------


def test_a_memory_map_is_trained_from_where_it_is(Estimator, tmp_path, monkeypatch):
    """Not loaded as a whole, the same rows held out, and as good as from memory."""
    X = np.tile(X_IRIS, (10, 1)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    on_disk = np.load(tmp_path / "X.npy", mmap_mode="r")
    params = {"max_iter": 10, "early_stopping": True}
    here = quick(Estimator, **params).fit(X)
    assert_same_outputs(quick(Estimator, **params).fit(on_disk), here)  # small enough to be loaded
    monkeypatch.setattr("sklearn_vae._base.data.IN_MEMORY", 0)
    monkeypatch.setattr("sklearn_vae._base.data.RowsOnDisk.block", 16)
    monkeypatch.setattr("sklearn_vae.selection.multistart.FEW_ROWS", 0)
    sizes = []
    monkeypatch.setattr("sklearn_vae._base.data.rows_for_net", record_sizes(sizes))
    there = quick(Estimator, **params).fit(on_disk)
    assert sizes.count(123) >= 100  # ten batches of one size an epoch, read when their turn comes
    assert there.score(X) == pytest.approx(quick(Estimator, **params).fit(X).score(X), abs=0.2)


def record_sizes(sizes):
    from sklearn_vae._base.data import rows_for_net

    def recorded(X, rows, *scaling):
        sizes.append(len(rows))
        return rows_for_net(X, rows, *scaling)

    return recorded


@pytest.mark.parametrize("weight", [None, torch.arange(5.0)])
def test_rows_are_taken_by_their_indices(weight):
    batch, order = Batch(torch.arange(10.0).reshape(5, 2), weight=weight), torch.tensor([3, 0, 4])
    for one, other in zip(batch.at(order).fields, batch[order].fields, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    torch.testing.assert_close(Rows(batch)[-1][1], batch.x[-1:])


@pytest.mark.parametrize("n", [1, 5, 64, 1000])
def test_shuffling_in_blocks_leaves_no_row_out(n):
    class Blocks(torch.Tensor):
        block = 4

    order = Rows(torch.arange(n).as_subclass(Blocks)).shuffled(torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(np.sort(order.as_subclass(torch.Tensor).numpy()), np.arange(n))
    assert n < 64 or (order[:64].diff() != 1).float().mean() > 0.5
