"""In a process among others: what comes in, one row at a time, threads, forks, pickles, skorch."""

import copy
import inspect
import io
import math
import os
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from helpers import ESTIMATOR_OF
from sklearn.base import clone
from sklearn.datasets import load_iris
from skorch.callbacks import BatchScoring, Callback, EpochScoring
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_vae._base import data
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.training import VAENet, stages

try:
    import cloudpickle
except ImportError:  # older versions of joblib bring their own
    from joblib.externals import cloudpickle

X_IRIS = load_iris().data
DTYPES = np.float64, np.float32

EXPECTED = "ignore:.*was still improving", "ignore:Only . of . components"
pytestmark = pytest.mark.filterwarnings(*EXPECTED)


def quick(Estimator, **params):
    defaults = {"hidden_layer_sizes": (16,), "max_iter": 3, "random_state": 0}
    return Estimator(2, **{**defaults, **params})


@pytest.fixture
def fitted(Estimator):
    return quick(Estimator).fit(X_IRIS)


def small_network(n_in, n_out):
    first, last = torch.nn.Linear(n_in, 8), torch.nn.Linear(8, n_out)
    return torch.nn.Sequential(first, torch.nn.BatchNorm1d(8), torch.nn.Dropout(), last)


# --- what comes in --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("turned", [np.s_[::-1], np.s_[:, ::-1], np.s_[::-2, ::-1]])
def test_strides_do_not_matter(fitted, dtype, turned):
    X = X_IRIS.astype(dtype)
    Z = np.random.RandomState(0).standard_normal((30, 2)).astype(dtype)
    for call, given in ((fitted.transform, X), (fitted.elbo, X), (fitted.inverse_transform, Z)):
        for rows in (given[turned], given[:1][::-1], np.asfortranarray(given)):
            np.testing.assert_array_equal(call(rows), call(rows.copy(order="C")))


@pytest.mark.parametrize("dtype", DTYPES)
def test_read_only_arrays_give_no_warning(fitted, dtype):
    X = X_IRIS.astype(dtype)
    Z = fitted.transform(X)
    expected = fitted.inverse_transform(Z)
    X.setflags(write=False)
    Z.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(fitted.transform(X), Z)
        np.testing.assert_array_equal(fitted.inverse_transform(X=Z), expected)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_the_way_there_and_back_in_data_frames(Estimator, container):
    library = pytest.importorskip(container)
    df = library.DataFrame({f"x{i}": column for i, column in enumerate(X_IRIS.T)})
    estimator = quick(Estimator).set_output(transform=container).fit(df)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Z = estimator.transform(df)
        rebuilt = estimator.inverse_transform(Z)
    assert isinstance(Z, library.DataFrame)
    np.testing.assert_array_equal(rebuilt, estimator.inverse_transform(Z.to_numpy()))


@pytest.mark.parametrize("covariance_type", ESTIMATOR_OF)
@pytest.mark.parametrize(
    "likelihood", ["gaussian", Gaussian("per_feature"), "heteroscedastic_gaussian"], ids=str
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_rows_whose_squares_overflow_have_no_probability(likelihood, covariance_type):
    params = {"likelihood": likelihood, "covariance_type": covariance_type, "max_iter": 1}
    estimator = quick(ESTIMATOR_OF[covariance_type], **params).fit(X_IRIS)
    for far in (np.float64(1e160), np.float64(1e200), np.float64(-1e307), np.float32(1e30)):
        X = X_IRIS[:6].astype(far.dtype)
        X[2, 1] = far
        split = estimator.elbo(X, split=True)
        bounds = estimator.score_samples(X), estimator.elbo(X), split.bound, split.reconstruction
        for bound in bounds:
            assert bound[2] == -np.inf
            assert np.isfinite(np.delete(bound, 2)).all()
        assert split.kl[2] > 0
        assert not np.isnan(split.kl_per_component).any()
        assert estimator.score(X) == -np.inf


# --- one row at a time ----------------------------------------------------------------------------


def numbers_by_hand(estimator, X):
    """The same by a fresh copy of the module."""
    return type(estimator).transform(copy.deepcopy(estimator), X)


def write(tensor, how):
    """Change a tensor in ways that torch counts, and in ways that it does not."""
    if how == "optimizer":
        tensor.grad = torch.ones_like(tensor)
        torch.optim.AdamW([tensor], lr=0.1, fused=True).step()
    elif how == "data":
        tensor.data.add_(0.1)
    elif how == "numpy":
        tensor.detach().numpy()[:] += 0.1
    else:
        with torch.no_grad():
            tensor.add_(0.1)


@pytest.mark.parametrize("how", ["in place", "data", "numpy", "optimizer"])
def test_a_kept_module_is_never_stale(Estimator, how):
    fitted = quick(Estimator, init="random").fit(X_IRIS)
    before, module = fitted.transform(X_IRIS), fitted.net_.module_
    for name, tensor in module.encoder.named_parameters():
        write(tensor, how)
        after = fitted.transform(X_IRIS)
        assert not np.array_equal(after, before), name
        np.testing.assert_array_equal(after, numbers_by_hand(fitted, X_IRIS))
        before = after


def test_other_changes_of_the_module_are_seen_as_well(Estimator):
    estimator = quick(
        Estimator, encoder=small_network, likelihood=Gaussian(noise_growth=0.0), init="random"
    ).fit(X_IRIS)
    module, seen = estimator.net_.module_, []
    before = estimator.transform(X_IRIS), estimator.score_samples(X_IRIS)
    module.likelihood.noise.growth = 1.0
    assert not np.array_equal(estimator.score_samples(X_IRIS), before[1])
    module.likelihood.noise.growth = 0.0
    np.testing.assert_array_equal(estimator.score_samples(X_IRIS), before[1])
    module.encoder.net[1].running_mean += 1
    assert not np.array_equal(estimator.transform(X_IRIS), before[0])
    module.encoder.net[1].running_mean -= 1
    hook = module.encoder.register_forward_hook(lambda *_: seen.append(1))
    estimator.transform(X_IRIS)
    hook.remove()
    estimator.transform(X_IRIS)
    assert seen == [1]
    module.encoder.train()
    assert not np.array_equal(estimator.transform(X_IRIS), estimator.transform(X_IRIS[::-1])[::-1])
    module.eval()
    module.encoder.net[3] = torch.nn.Linear(8, module.encoder.net[3].out_features)
    np.testing.assert_array_equal(estimator.transform(X_IRIS), numbers_by_hand(estimator, X_IRIS))


def test_a_module_is_converted_once_and_kept_for_no_one_else(fitted):
    fitted.transform(X_IRIS)
    net = fitted.net_
    kept = net.module_in(torch.float64)
    before = dict(vars(fitted))
    fitted.transform(X_IRIS[:1])
    assert vars(fitted) == before
    assert net.module_in(torch.float64) is kept is not net.module_
    assert net.module_in(torch.float32) is net.module_
    assert {weight.dtype for weight in net.module_.parameters()} == {torch.float32}
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), copy.deepcopy(fitted).net_):
        assert other._converted is None
        assert other.module_in(torch.float64) is not kept
    size = len(pickle.dumps(net))
    net._converted = None
    assert len(pickle.dumps(net)) == size
    refit = fitted.partial_fit(X_IRIS)
    np.testing.assert_array_equal(refit.transform(X_IRIS), numbers_by_hand(refit, X_IRIS))


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_meet(Estimator, dtype):
    X = X_IRIS.astype(dtype)
    estimator = quick(Estimator).fit(X)
    expected = copy.deepcopy(estimator).transform(X)
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(lambda _: estimator.transform(X), range(64)):
            np.testing.assert_array_equal(result, expected)


# --- what a process loads -------------------------------------------------------------------------

LOADED = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from sklearn_vae import RhoVAETransformer, VAETransformer
X = np.random.RandomState(0).poisson(2.0, (60, 5)).astype(float)
gaps = np.where(np.random.RandomState(1).uniform(size=X.shape) < 0.1, np.nan, X)
for Estimator, params, rows in [
    (VAETransformer, {}, X),
    (RhoVAETransformer, {}, gaps),
    (VAETransformer, {"likelihood": "negative_binomial"}, X),
    (VAETransformer, {"batch_size": 16, "net_params": {"optimizer__amsgrad": True}}, X),
]:
    model = Estimator(2, max_iter=2, hidden_layer_sizes=(4,), **params).fit(rows)
    model.score(rows), model.inverse_transform(model.transform(rows)), model.sample(3)
assert "torch._dynamo" not in sys.modules
"""


def test_the_compiler_of_torch_is_not_loaded():
    """It takes longer to load than most fits take."""
    subprocess.run([sys.executable, "-c", LOADED], check=True, timeout=120)


# --- forks, inference mode ------------------------------------------------------------------------

FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, torch
torch.set_num_threads(2)
import sklearn_vae
X = np.random.RandomState(0).standard_normal((3000, 20))
model = getattr(sklearn_vae, sys.argv[1])(
    2, hidden_layer_sizes=(64,), batch_size=1000, max_iter=1, init="random", early_stopping=False
).fit(X)
given = {"inverse_transform": model.transform(X)}
child = os.fork()
if not child:
    try:
        getattr(model, sys.argv[2])(given.get(sys.argv[2], X))
        assert torch.get_num_threads() == 1
        os._exit(0)
    finally:
        os._exit(1)
assert torch.get_num_threads() == 2
sys.exit(os.waitpid(child, 0)[1] != 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("method", ["transform", "inverse_transform", "fit"])
def test_a_fork_of_a_process_that_has_computed_does_not_wait_for_its_threads(method):
    process = subprocess.Popen(
        [sys.executable, "-c", FORK, "VAETransformer", method],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        start_new_session=True,
    )
    try:
        assert process.wait(timeout=120) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)


@pytest.mark.parametrize("carry", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_a_model_loaded_in_inference_mode_can_be_trained(fitted, carry):
    expected = fitted.transform(X_IRIS)
    with torch.inference_mode():
        carried = carry(fitted)
        np.testing.assert_array_equal(carried.transform(X_IRIS), expected)
    assert not any(tensor.is_inference() for tensor in carried.net_.module_.state_dict().values())
    np.testing.assert_array_equal(carried.transform(X_IRIS), expected)
    again = fitted.partial_fit(X_IRIS).transform(X_IRIS)
    np.testing.assert_array_equal(carried.partial_fit(X_IRIS).transform(X_IRIS), again)


# --- pickles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"early_stopping": False},
        {"likelihood": Gaussian("per_feature")},
        {"likelihood": "bernoulli"},
    ],
)
def test_equal_fits_have_equal_pickles(Estimator, params, seed):
    X = (X_IRIS.mean(0) < X_IRIS).astype(float) if "likelihood" in params else X_IRIS
    one, same, other = (quick(Estimator, **params, random_state=s).fit(X) for s in (seed, seed, 7))
    same.transform(X)
    assert pickle.dumps(one) == pickle.dumps(same) != pickle.dumps(other)
    assert joblib.hash(one) == joblib.hash(same) != joblib.hash(other)
    assert joblib.hash(pickle.loads(pickle.dumps(one))) == joblib.hash(one)
    assert pickle.dumps(one.partial_fit(X)) == pickle.dumps(same.partial_fit(X))


def unimportable():
    class LocalNet(VAENet):
        pass

    return {
        "encoder": lambda n_in, n_out: torch.nn.Linear(n_in, n_out),
        "decoder": lambda n_in, n_out: torch.nn.Linear(n_in, n_out),
        "net_class": LocalNet,
        "net_params": {"callbacks": [EpochScoring(lambda net, X, y: 1.0, name="one")]},
    }


PLAIN = {
    "pickle": pickle.dumps,
    "pickle in Python": pickle._dumps,
    "joblib": lambda model: joblib.dump(model, io.BytesIO()),
    "nested": lambda model: pickle.dumps({"steps": [("vae", model)]}),
}
ABLE = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "cloudpickle": lambda model: pickle.loads(cloudpickle.dumps(model)),
}


@pytest.mark.parametrize("name", list(unimportable()))
def test_what_pickle_cannot_carry_is_named(Estimator, name):
    params = {name: unimportable()[name]}
    estimator = quick(Estimator, **params).fit(X_IRIS)
    expected = estimator.transform(X_IRIS)
    as_fitted = copy.deepcopy(estimator).set_params(**{name: None})
    told = r"net_params\['callbacks'\]" if name == "net_params" else name
    for model in (estimator, clone(estimator), as_fitted):
        for dump in PLAIN.values():
            with pytest.raises(pickle.PicklingError, match=rf"parameter {told} .*cloudpickle"):
                dump(model)
    for carry in ABLE.values():
        np.testing.assert_array_equal(carry(estimator).transform(X_IRIS), expected)


def test_processes_of_joblib_carry_lambdas(Estimator):
    estimator = quick(Estimator, encoder=lambda n_in, n_out: torch.nn.Linear(n_in, n_out))
    expected = clone(estimator).fit(X_IRIS).transform(X_IRIS)
    fits = [joblib.delayed(estimator.fit)(X_IRIS)] * 2
    for fitted in joblib.Parallel(n_jobs=2)(fits):
        np.testing.assert_array_equal(fitted.transform(X_IRIS), expected)


class Holder(EpochScoring):
    """A callback that knows the model it is a parameter of."""

    def __init__(self, model=None):
        super().__init__(scoring=one, name="one")
        self.model = model


def one(net, X, y):
    return 1.0


def test_parameters_may_refer_to_their_model(Estimator):
    estimator = quick(Estimator)
    estimator.set_params(net_params={"callbacks": [Holder(estimator)]})
    carried = pickle.loads(pickle.dumps(estimator))
    assert carried.net_params["callbacks"][0].model is carried


# --- skorch's own methods -------------------------------------------------------------------------


def as_the_net_takes_it(estimator, X=X_IRIS):
    return (X - estimator.mean_) / estimator.scale_


@pytest.mark.parametrize("networks", [{}, {"encoder": small_network, "decoder": small_network}])
def test_the_net_predicts_the_reconstruction(Estimator, networks):
    estimator = quick(Estimator, **networks).fit(X_IRIS)
    net, x, stream = estimator.net_, as_the_net_takes_it(estimator), torch.get_rng_state()
    rebuilt = estimator.inverse_transform(estimator.transform(X_IRIS))
    expected = as_the_net_takes_it(estimator, rebuilt)
    predicted = net.predict(x)
    assert type(predicted) is np.ndarray
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-5)
    tensor = torch.from_numpy(x)
    for given in (x.astype(np.float32), tensor, tensor.float(), x.tolist()):
        np.testing.assert_array_equal(net.predict(given), predicted)
    np.testing.assert_array_equal(net.predict_proba(x), predicted)
    np.testing.assert_array_equal(net.forward(x), predicted)
    np.testing.assert_array_equal(torch.cat(list(net.forward_iter(x))), predicted)
    np.testing.assert_allclose(net.predict(x[:1]), predicted[:1], rtol=1e-4, atol=1e-5)
    net.module_.train()  # by hand
    np.testing.assert_array_equal(net.predict(x), predicted)
    assert torch.equal(torch.get_rng_state(), stream)
    assert net.forward(x, training=True).requires_grad
    assert not net.module_.training
    np.testing.assert_allclose(estimator.transform(X_IRIS), estimator.transform(X_IRIS))


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 4)])
def test_the_net_says_what_rows_it_takes(fitted, shape):
    with pytest.raises(ValueError, match="VAENet takes rows of 4 features"):
        fitted.net_.predict(np.zeros(shape))


@pytest.mark.parametrize("Scoring", [EpochScoring, BatchScoring])
@pytest.mark.parametrize("on_train", [False, True])
def test_scoring_by_name(Estimator, Scoring, on_train):
    scores = []
    for use_caching in (True, False):
        how = {"lower_is_better": False, "on_train": on_train, "use_caching": use_caching}
        scoring = Scoring("neg_mean_squared_error", **how)
        params = {"early_stopping": True, "net_params": {"callbacks": [scoring]}}
        estimator = quick(Estimator, **params).fit(X_IRIS)
        history = estimator.net_.history
        scores.append(history[:, "neg_mean_squared_error"])
        assert len(scores[-1]) == len(history)
        assert all(math.isfinite(score) and score < 0 for score in scores[-1])
    assert scores[0] == scores[1]
    plain = quick(Estimator, early_stopping=True).fit(X_IRIS)
    given = estimator.transform(X_IRIS), plain.transform(X_IRIS)
    np.testing.assert_allclose(*given, rtol=1e-4, atol=1e-6)


class MeanSquares(Callback):
    """The same by hand, at the end of an epoch."""

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        for name, rows in (("train", dataset_train.X), ("valid", dataset_valid.X)):
            with torch.no_grad():
                errors = rows - net.module_.reconstruct(rows)
            net.history.record(name + "_squares", -errors.square().mean().item())


@pytest.mark.parametrize("on_train", [False, True])
def test_scores_are_of_the_weights_at_the_end_of_the_epoch(Estimator, on_train):
    how = {"lower_is_better": False, "on_train": on_train, "name": "score"}
    scoring = EpochScoring("neg_mean_squared_error", **how)
    params = {"early_stopping": True, "net_params": {"callbacks": [scoring, MeanSquares()]}}
    history = quick(Estimator, **params).fit(X_IRIS).net_.history
    by_hand = history[:, "train_squares" if on_train else "valid_squares"]
    np.testing.assert_allclose(history[:, "score"], by_hand, rtol=1e-5)


def test_epoch_scoring_leaves_batches_alone(Estimator, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("fetched the loss of a batch from the device")

    monkeypatch.setattr("skorch.history.History.record_batch", refuse)
    scoring = EpochScoring("neg_mean_squared_error", lower_is_better=False)
    quick(Estimator, early_stopping=True, net_params={"callbacks": [scoring]}).fit(X_IRIS)


@pytest.mark.parametrize("use_caching", [True, "auto"])
def test_steps_are_not_taken_for_predictions(Estimator, use_caching):
    with pytest.raises(ValueError, match=f"use_caching={use_caching!r} .*Leave it False"):
        quick(Estimator, net_params={"use_caching": use_caching}).fit(X_IRIS)


# --- words ----------------------------------------------------------------------------------------


def test_unknown_arguments_are_refused_without_naming_inner_classes(fitted):
    methods = vars_of_mixins(fitted) & {n for n, _ in inspect.getmembers(fitted, inspect.ismethod)}
    assert {"fit", "partial_fit", "transform", "inverse_transform", "elbo", "score"} <= methods
    for name in methods:
        argument = {} if name == "sample" else {"X": X_IRIS}
        with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected .*'weights'"):
            getattr(fitted, name)(**argument, weights=np.ones(150))
    with pytest.raises(TypeError, match=r"^fit\(\) missing 1 required positional argument: 'X'"):
        fitted.fit()
    assert pickle.loads(pickle.dumps(fitted.score_samples))(X_IRIS).shape == (150,)


def vars_of_mixins(estimator):
    mixins = [
        cls
        for cls in type(estimator).__mro__
        if cls.__name__ in ("Fitting", "Evaluation", "Imputation")
    ]
    return {name for mixin in mixins for name in vars(mixin) if not name.startswith("_")}


# --- threads --------------------------------------------------------------------------------------


class Fails(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise RuntimeError("on purpose")


class Notes(Callback):
    """How many threads there are in training."""

    def __init__(self, seen, count=torch.get_num_threads):
        self.seen, self.count = seen, count

    def on_epoch_end(self, net, **kwargs):
        self.seen.append(self.count())


def of_blas():
    """How many threads the libraries of NumPy and SciPy have; one number for each that tells."""
    return {of["num_threads"] for of in threadpool_info() if of["user_api"] == "blas"}


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    # The thread that has set a limit on NumPy is the one that may change it, while it lives.
    limit = in_a_new_thread(lambda: threadpool_limits(3, user_api="blas"))
    yield
    in_a_new_thread(limit.restore_original_limits)
    torch.set_num_threads(before)


def in_a_new_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def assert_there_are_three():
    assert torch.get_num_threads() == in_a_new_thread(torch.get_num_threads) == 3
    assert of_blas() <= {3}


def test_a_fit_trains_in_one_thread_and_leaves_the_number_as_it_was(Estimator, three_threads):
    seen = []
    estimator = quick(Estimator, net_params={"callbacks": [Notes(seen)]}).fit(X_IRIS)
    assert set(seen) == {1}
    assert_there_are_three()
    estimator.partial_fit(X_IRIS)
    assert_there_are_three()


@pytest.mark.parametrize(("rows", "expected"), [(150, 1), (2**16, 3)])
def test_all_of_a_fit_on_a_small_table_is_in_one_thread(
    Estimator, three_threads, rows, expected, monkeypatch
):
    """What describes the model included; on a large one it has the usual number."""
    monkeypatch.setattr(data, "WORTH_BLAS_THREADS", data.WORTH_THREADS)
    seen = []

    class Noted(Estimator):
        def _describe(self, *args, **kwargs):
            seen.extend({torch.get_num_threads()} | of_blas())
            super()._describe(*args, **kwargs)

    X = np.resize(X_IRIS, (rows, 4))
    X = X + 0.01 * np.random.RandomState(0).randn(*X.shape)
    estimator = quick(Noted, max_iter=1).fit(X)
    estimator.partial_fit(X)
    assert seen == [expected] * 2
    assert_there_are_three()


def test_training_of_a_large_network_on_a_small_table_has_the_usual_number(
    Estimator, three_threads, monkeypatch
):
    monkeypatch.setattr(stages, "WORTH_A_THREAD", 0)
    seen = []
    quick(Estimator, net_params={"callbacks": [Notes(seen)]}).fit(X_IRIS)
    assert set(seen) == {3}


def test_a_fit_that_fails_leaves_it_as_well(Estimator, three_threads):
    with pytest.raises(RuntimeError, match="on purpose"):
        quick(Estimator, net_params={"callbacks": [Fails()]}).fit(X_IRIS)
    assert_there_are_three()


def test_a_user_may_ask_for_more(Estimator, three_threads):
    seen = []
    quick(Estimator, net_params={"n_threads": 2, "callbacks": [Notes(seen)]}).fit(X_IRIS)
    assert set(seen) == {2}


def test_eight_fits_at_once_leave_it_as_well(Estimator, three_threads):
    """In threads of their own, born while others train."""
    seen, seen_of_blas = [], []
    notes = [Notes(seen), Notes(seen_of_blas, of_blas)]

    def fit(seed):
        quick(Estimator, random_state=seed, net_params={"callbacks": notes}).fit(X_IRIS)
        return torch.get_num_threads()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(fit, range(16))) == {3}
    assert set(seen) == {1}
    assert not of_blas() or 1 in set().union(*seen_of_blas)
    assert_there_are_three()
