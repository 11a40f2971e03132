"""How skorch runs the module: batches, seeds, callbacks, and the door to the rest of skorch."""

import copy
import itertools
import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
)
from torch.utils.data import DataLoader

from sklearn_vae import VAETransformer
from sklearn_vae.batch import Batch
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.objectives import ELBO
from sklearn_vae.selection import multistart
from sklearn_vae.training import (
    KeepBest,
    Rows,
    SeededInit,
    StopTraining,
    TensorBatches,
    VAENet,
    available_devices,
    graph,
    resolve_device,
)
from sklearn_vae.training.averaging import EVERY, GAMMA, OFTEN, WARM_UP, WeightAverage
from sklearn_vae.training.callbacks import Snapshot

X = load_iris().data


def quick(Estimator, **params):
    defaults = {
        "hidden_layer_sizes": (16,),
        "max_iter": 6,
        "random_state": 0,
        "early_stopping": True,
        "init": "random",
    }
    return Estimator(2, **{**defaults, **params})


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (8, 4, [4, 4]),
        (9, 4, [5, 4]),
        (11, 4, [4, 4, 3]),
        (1, 4, [1]),
        (3, 2, [3]),
        (190, 128, [190]),
        (195, 128, [98, 97]),
        (700, 128, [140] * 5),
    ],
)
def test_batches_are_even_and_hold_every_row_once(n, batch_size, sizes):
    """Or twice, where they are shuffled and one batch has them all."""
    x = torch.arange(n, dtype=torch.float32)[:, None]
    for shuffle in (False, True):
        batches = TensorBatches(
            Rows(Batch(x)), batch_size, shuffle=shuffle, generator=torch.Generator().manual_seed(0)
        )
        seen = [rows.x[:, 0].tolist() for rows, _ in batches]
        passes = 2 if shuffle and len(sizes) == 1 else 1
        assert [len(rows) for rows in seen] == passes * sizes
        assert len(batches) == passes * len(sizes)
        for k in range(passes):
            rows = np.concatenate(seen[k * len(sizes) : (k + 1) * len(sizes)]).tolist()
            assert sorted(rows) == list(range(n))
            assert (rows == list(range(n))) == (not shuffle or n == 1)
        assert passes == 1 or n == 1 or seen[0] != seen[1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.Linear(3, 4).weight,
        lambda: torch.randn(3),
        lambda: torch.randperm(50),
        lambda: torch.empty(5).normal_(),
    ],
)
def test_seeded_init_draws_from_its_generator_alone(make):
    before = torch.get_rng_state()
    with SeededInit(torch.Generator().manual_seed(3)):
        one = make()
    with SeededInit(torch.Generator().manual_seed(3)):
        same = make()
    with SeededInit(torch.Generator().manual_seed(4)):
        other = make()
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert available_devices()[-1] == "cpu"
    assert resolve_device("auto").type == available_devices()[0].split(":")[0]
    for name in ("abacus", "meta", "cuda:99"):
        with pytest.raises(
            ValueError, match=rf"device='{name}' is not available.*Available: .*cpu"
        ):
            resolve_device(name)


class Watcher(Callback):
    """Looks at batches, so skorch's own path has to run."""

    def on_batch_end(self, net, **kwargs):
        pass


def test_the_lean_path_is_skorchs_own(Estimator):
    lean = quick(Estimator).fit(X)
    watched = quick(Estimator, net_params={"callbacks": [Watcher]}).fit(X)
    np.testing.assert_allclose(watched.loss_curve_, lean.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(watched.transform(X), lean.transform(X), rtol=1e-4, atol=1e-6)
    stock = quick(Estimator, net_params={"iterator_valid": DataLoader}).fit(X)
    np.testing.assert_allclose(stock.transform(X), lean.transform(X), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "net_params",
    [
        {"callbacks": [LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.1)]},
        {"callbacks": [GradientNormClipping(1.0)]},
        {"callbacks": [EpochScoring(lambda net, X, y: 1.0, name="one", use_caching=False)]},
        {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9, "lr": 1e-3},
        {"iterator_train": DataLoader, "iterator_train__shuffle": True},
        {"callbacks__keep_best__patience": 2},
    ],
    ids=["schedule", "clipping", "scoring", "optimizer", "iterator", "patience"],
)
def test_the_door_to_skorch(Estimator, net_params):
    given = {
        key: list(value) if isinstance(value, list) else value for key, value in net_params.items()
    }
    estimator = quick(Estimator, net_params=net_params).fit(X)
    assert np.isfinite(estimator.score(X))
    assert estimator.net_params is net_params
    assert net_params == given


def test_learning_rate_policies_are_obeyed(Estimator):
    policy = LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1)
    estimator = quick(
        Estimator, max_iter=3, early_stopping=False, net_params={"callbacks": [policy]}
    ).fit(X)
    assert estimator.net_.optimizer_.param_groups[0]["lr"] == pytest.approx(6e-6)
    assert policy.lr_scheduler_ is not None  # the user's own object, as with skorch


def test_checkpoint_finds_what_it_looks_at(Estimator, tmp_path):
    quick(Estimator, net_params={"callbacks": [Checkpoint(dirname=tmp_path)]}).fit(X)
    assert (tmp_path / "params.pt").exists()


class Stop(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise StopTraining


@pytest.mark.parametrize(
    "callback", [Stop(), EarlyStopping(patience=2, threshold=1e9, threshold_mode="abs")]
)
def test_callbacks_end_training_and_the_model_stays(Estimator, callback):
    estimator = quick(Estimator, max_iter=50, net_params={"callbacks": [callback]}).fit(X)
    assert estimator.n_iter_ <= 3
    assert np.isfinite(estimator.score(X))


class Loud(VAENet):
    steps = 0

    def train_step(self, batch, **fit_params):
        type(self).steps += 1
        return super().train_step(batch, **fit_params)


def test_net_class(Estimator):
    estimator = quick(Estimator, net_class=Loud).fit(X)
    assert isinstance(estimator.net_, Loud)
    assert Loud.steps > 0


def test_mixed_precision(Estimator):
    """bfloat16 has 8 bits.

    Trained in it, a model is as good to about a hundredth, and float32 as any other.
    """
    plain = quick(Estimator, max_iter=30, init="auto").fit(X)
    mixed = quick(Estimator, max_iter=30, init="auto", net_params={"autocast": "bfloat16"}).fit(X)
    assert mixed.loss_curve_ != plain.loss_curve_
    assert mixed.score(X) == pytest.approx(plain.score(X), abs=0.2)
    assert {weight.dtype for weight in mixed.net_.module_.parameters()} == {torch.float32}


def test_compilation(Estimator):
    """With the backend that compiles nothing, so that what is tested is the way there and back."""
    plain = quick(Estimator).fit(X)
    compiled = quick(Estimator, net_params={"compile": True, "compile__backend": "eager"}).fit(X)
    np.testing.assert_allclose(compiled.loss_curve_, plain.loss_curve_, rtol=1e-5)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(compiled)).transform(X), compiled.transform(X)
    )


class Records:
    """In the place of a CUDA graph.

    What is recorded is not run, and what is replayed is run again.
    """

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, step, device):
        self.recorded += 1
        result = torch.zeros(())

        def replay():
            self.replayed += 1
            result.copy_(step())

        return replay, result


@pytest.fixture
def records(monkeypatch):
    monkeypatch.setattr(graph, "DEVICES", ("cpu",))
    monkeypatch.setattr(graph, "record", Records())
    # While the rate grows from step to step nothing is recorded.
    monkeypatch.setattr("sklearn_vae.training.net.WARM_UP", 0)
    return graph.record


CAPTURABLE = {"optimizer__capturable": True}


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
def test_recorded_steps_are_the_same_steps(records, covariance_type):
    """Three batches of 38 and a last one of 36 rows.

    With a schedule's change of the rate and a growing weight of the KL.
    """
    params = {
        "covariance_type": covariance_type,
        "batch_size": 37,
        "objective": ELBO(kl_warmup=3),
        "early_stopping": False,
    }
    policy = LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=6, gamma=0.5)
    fits = [
        quick(
            VAETransformer,
            max_iter=12,
            **params,
            net_params={**CAPTURABLE, "callbacks": [policy], **more},
        ).fit(X)
        for more in ({}, {"record_steps": False})
    ]
    assert (
        records.recorded == 2
    )  # in epoch 5, when the KL's weight stays as it was, and in 8, after the rate's change
    assert records.replayed == 3 * (2 + 5)  # in epochs 5 and 6, and 8 to 12
    np.testing.assert_allclose(*(fit.loss_curve_ for fit in fits), rtol=1e-6)
    np.testing.assert_allclose(*(fit.transform(X) for fit in fits), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("steps", [49, OFTEN, OFTEN + 1, OFTEN + EVERY, OFTEN + 7 * EVERY + 2])
def test_the_average_is_that_of_the_formula(steps):
    """Polynomial decay: later weights count more, and a single one counts all.

    Many steps are counted by every fourth and the last.
    """
    module = torch.nn.Linear(3, 2)
    average, mean, before = WeightAverage(module), None, 0
    for t in range(1, steps + 1):
        weights = torch.randn(2, 3, generator=torch.Generator().manual_seed(t))
        with torch.no_grad():
            module.weight.copy_(weights)
        average.add()
        if t <= OFTEN or t % EVERY == 0 or t == steps:
            share = (GAMMA + 1) / (t / (t - before) + GAMMA)
            mean = weights if mean is None else (1 - share) * mean + share * weights
            before = t
    average.show(True)
    torch.testing.assert_close(module.weight.detach(), mean)
    average.show(True)
    torch.testing.assert_close(module.weight.detach(), mean)
    average.show(False)
    torch.testing.assert_close(module.weight.detach(), weights)


def test_the_average_is_better_than_the_last_weights():
    """Of a least-squares fit by noisy steps at a constant rate."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(500, 4, generator=rng)
    y = x @ torch.ones(4, 1) + torch.randn(500, 1, generator=rng)
    best = torch.linalg.lstsq(x, y).solution.T
    module = torch.nn.Linear(4, 1, bias=False)
    average, optimizer = WeightAverage(module), torch.optim.AdamW(module.parameters(), lr=0.05)
    for _ in range(400):
        rows = torch.randint(500, (16,), generator=rng)
        optimizer.zero_grad()
        (module(x[rows]) - y[rows]).square().mean().backward()
        optimizer.step()
        average.add()
    last = (module.weight.detach() - best).norm()
    average.show(True)
    assert (module.weight.detach() - best).norm() < 0.5 * last


class Rates(Callback):
    """The learning rate at each step and after each epoch."""

    def __init__(self):
        self.steps, self.epochs = [], []

    def on_grad_computed(self, net, **kwargs):
        self.steps.append(net.optimizer_.param_groups[0]["lr"])

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(net.optimizer_.param_groups[0]["lr"])


def test_the_first_steps_are_small(Estimator):
    rates = Rates()
    params = {"early_stopping": False, "batch_size": 30, "learning_rate_init": 1e-3}
    quick(Estimator, max_iter=10, **params, net_params={"callbacks": [rates]}).fit(X)
    expected = 1e-3 * np.minimum(1, np.arange(1, len(rates.steps) + 1) / WARM_UP)
    np.testing.assert_allclose(rates.steps, expected)
    assert len(rates.steps) > WARM_UP
    np.testing.assert_allclose(rates.epochs, 1e-3)


@pytest.mark.parametrize(("held_out", "share"), [(0.1, 1 / 3), (0.25, 1)])
def test_held_out_rows_are_trained_on_from_the_best_weights(Estimator, held_out, share):
    """The more of them there are, the longer."""
    stages, best = [], []

    class Stages(Callback):
        def on_epoch_end(self, net, **kwargs):
            stages.append(net.stage_)

        def on_train_end(self, net, **kwargs):
            if net.stage_ == "first start":
                best.append(net.keep_best_.best_epoch_)

    part = {"early_stopping": True, "validation_fraction": held_out}
    quick(Estimator, max_iter=20, net_params={"callbacks": [Stages()]}, **part).fit(X[:100])
    assert best[0] > 0
    assert stages.count("refit") == math.ceil(share * best[0])


def test_smaller_steps_end_where_they_add_little(Estimator, monkeypatch):
    """With many rows they go on from the first start: what that one gained counts as well."""
    monkeypatch.setattr(multistart, "FEW_ROWS", 300)
    monkeypatch.setattr(multistart, "FULL_STEPS", 1e-9)  # whatever the noise
    rates, watches = {}, {}

    class Stages(Callback):
        def on_train_end(self, net, **kwargs):
            rates[net.stage_] = net.optimizer_.param_groups[0]["lr"]
            watches[net.stage_] = copy.copy(net.keep_best_)

    rng = np.random.RandomState(0)
    Z = rng.randn(400, 2)
    X = np.tanh(2 * Z @ rng.randn(2, 6)) + 0.3 * rng.randn(400, 6)
    model = Estimator(2, random_state=0, net_params={"callbacks": [Stages()]}).fit(X)
    assert list(watches) == ["first start", "smaller steps"]
    assert rates["smaller steps"] == pytest.approx(0.4 * rates["first start"])
    first, second = watches.values()
    assert second.watched_[0].first == first.watched_[0].first
    assert second.watched_[0].first > second.watched_[0].lowest
    assert (first.before, model.net_.keep_best_.before) == (None, None)
    assert second.stopped_


def test_smaller_steps_follow_where_no_epoch_helped(Estimator):
    """The refit goes on at their rate, for a share of their best epochs, each of two passes."""
    stages, best, rates = [], {}, {}

    class Stages(Callback):
        def on_epoch_end(self, net, **kwargs):
            stages.append(net.stage_)
            rates[net.stage_] = net.optimizer_.param_groups[0]["lr"]

        def on_train_end(self, net, **kwargs):
            if net.stage_ != "refit":
                best[net.stage_] = net.keep_best_.best_epoch_

    rng = np.random.RandomState(0)
    Z = rng.randn(200, 2)
    X = Z @ rng.randn(2, 6) + 0.1 * np.sin(2 * Z @ rng.randn(2, 6)) + 0.01 * rng.randn(200, 6)
    small = Estimator(
        2, learning_rate_init=0.1, random_state=0, net_params={"callbacks": [Stages()]}
    ).fit(X)
    assert list(dict.fromkeys(stages)) == ["first start", "smaller steps", "refit"]
    assert best["first start"] == 0 < best["smaller steps"]
    assert stages.count("refit") == math.ceil(3 * 30 / 170 * 2 * best["smaller steps"])
    assert rates == pytest.approx({"first start": 0.1, "smaller steps": 0.02, "refit": 0.01})
    assert small.n_iter_ == stages.count("first start") + stages.count("smaller steps")
    linear = Estimator(2, hidden_layer_sizes=(), random_state=0).fit(X)
    assert small.score(X) > linear.score(X) + 0.1


@pytest.mark.parametrize("callbacks", [[], [Callback()]])
def test_a_refit_is_validated_for_those_who_watch_it(Estimator, callbacks):
    """It changes nothing but the history."""
    model = quick(Estimator, max_iter=20, net_params={"callbacks": callbacks}).fit(X)
    assert model.net_.stage_ == "refit"
    assert ("valid_loss" in model.net_.history[-1]) is bool(callbacks)
    alone = quick(Estimator, max_iter=20).fit(X)
    np.testing.assert_allclose(model.transform(X), alone.transform(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_time_limit_keeps_the_best_weights_so_far(Estimator, early_stopping, monkeypatch):
    """By a clock that counts steps."""
    ticks = itertools.count()
    monkeypatch.setattr("sklearn_vae.training.averaging.time.monotonic", lambda: next(ticks))
    params = {"early_stopping": early_stopping, "max_iter": 500, "batch_size": 30}
    with pytest.warns(ConvergenceWarning, match="max_time=50 ended it"):
        model = Estimator(2, max_time=50, random_state=0, **params).fit(X)
    start = Estimator(2, learning_rate_init=1e-12, random_state=0, **{**params, "max_iter": 1})
    assert next(ticks) < 70
    assert 1 < model.n_iter_ < 15
    assert model.score(X) >= start.fit(X).score(X)
    assert len(pickle.loads(pickle.dumps(model)).loss_curve_) == model.n_iter_


class OwnActivation(torch.nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    "params",
    [
        {"net_params": {}},  # an optimizer that does not promise it
        {"net_params": {**CAPTURABLE, "callbacks": [GradientNormClipping(1.0)]}},
        {"net_params": {**CAPTURABLE, "callbacks": [Watcher]}},
        {"net_params": CAPTURABLE, "net_class": Loud},
        {"net_params": CAPTURABLE, "objective": "infovae"},
        {
            "net_params": CAPTURABLE,
            "encoder": lambda *sizes: torch.nn.Sequential(torch.nn.Linear(*sizes), OwnActivation()),
        },
    ],
    ids=["optimizer", "gradients", "batches", "net", "objective", "network"],
)
def test_what_may_change_from_step_to_step_is_not_recorded(records, params):
    quick(VAETransformer, **{"batch_size": 32, **params}).fit(X)
    assert not records.recorded


def test_what_cannot_be_recorded_runs_as_it_is(records, monkeypatch):
    def refuse(step, device):
        raise RuntimeError("operation not permitted when stream is capturing")

    params = {"batch_size": 32, "net_params": CAPTURABLE}
    recorded = quick(VAETransformer, **params).fit(X)
    monkeypatch.setattr(graph, "record", refuse)
    refused = quick(VAETransformer, **params).fit(X)
    np.testing.assert_allclose(refused.loss_curve_, recorded.loss_curve_, rtol=1e-6)
    assert records.recorded


def test_no_data_and_no_generator_survive_fit(Estimator):
    net = quick(Estimator).fit(X).net_
    assert net.train_split is None
    assert net._streams is None
    held = [
        value for value in vars(net).values() if isinstance(value, (torch.Tensor, np.ndarray, Rows))
    ]
    assert not held


def test_verbose_prints_the_units_of_the_data(Estimator, capsys):
    estimator = quick(Estimator, verbose=1).fit(1000 * X)
    assert f"{estimator.loss_curve_[0]:.4f}" in capsys.readouterr().out
    quick(Estimator).fit(X)
    assert not capsys.readouterr().out


def test_a_snapshot_has_all_that_a_state_dict_has():
    """Parameters, frozen ones as well, buffers of every type, and what is no tensor."""

    class Counting(torch.nn.Module):
        def __init__(self, counts):
            super().__init__()
            self.counts = counts

        def get_extra_state(self):
            return self.counts

        def set_extra_state(self, state):
            self.counts = state

        def forward(self, x):
            self.counts[0] += 1
            return x

    counting = Counting([0]), Counting(torch.zeros(1))
    layers = torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), *counting
    module = torch.nn.Sequential(*layers)
    layers[0].bias.requires_grad_(False)

    def change():
        module(torch.randn(5, 3))
        with torch.no_grad():
            for p in module.parameters():
                p.add_(1.0)
        return copy.deepcopy(module.state_dict())

    def are_equal(state, other):
        return [np.array_equal(value, other[name]) for name, value in state.items()]

    snapshot, taken = Snapshot(module), change()
    snapshot.take()
    assert not any(are_equal(change(), taken))
    snapshot.put_back()
    assert all(are_equal(module.state_dict(), taken))


@pytest.mark.parametrize("noise", ["shared", "per_feature"])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_loss_at_its_best_noise_is_the_least_over_factors(Estimator, noise, beta, monkeypatch):
    """Of a validation, against the loss at each of many factors; and it is what is watched."""
    watched = []

    def offer(self, net, loss, held_out):
        least, kept = net.at_best_noise(loss), Snapshot(net.module_)
        noise = net.module_.likelihood.noise
        before = noise.variance.detach().clone()
        found = []
        for factor in np.exp(np.linspace(-3, 3, 301)):
            noise.set(before * factor)
            found.append(net.loss_of(held_out))
        kept.put_back()
        net.loss_of(held_out)
        watched.append((least, min(found), loss))
        return call(self, net, loss, held_out)

    call = KeepBest._offer
    monkeypatch.setattr(KeepBest, "_offer", offer)
    model = Estimator(
        2, likelihood=Gaussian(noise), objective=ELBO(beta=beta), max_iter=5, random_state=0
    ).fit(X, X_val=3 * X[::5] - 2 * X.mean(0))
    least, found, loss = np.array(watched).T
    np.testing.assert_allclose(least, found, rtol=0, atol=1e-3)
    assert (least <= loss + 1e-5).all()
    assert (least < loss - 0.1).all()
    assert min(least) == model.net_.keep_best_.watched_[0].lowest
    assert model.net_.keep_best_.best_ == loss[np.argmin(least)]


@pytest.mark.parametrize(("rows", "passes"), [(60, 2), (400, 1)])
def test_patience_knows_the_passes_of_an_epoch(rows, passes):
    X = np.random.RandomState(0).randn(rows, 4)
    watch = VAETransformer(1, max_iter=2, random_state=0).fit(X).net_.keep_best_
    assert watch.passes_ == passes


@pytest.mark.parametrize(
    ("steps", "passes", "epochs", "expected"),
    [
        (2, 2, 10, (15, 120, 15, 15)),  # 30 steps, and eight times those
        (2, 1, 10, (20, 160, 20, 20)),  # 20 passes
        (20, 1, 10, (10, 40, 10, 10)),  # 200 steps, and four times those
        (100, 1, 10, (5, 8, 5, 5)),  # five epochs
        (20, 1, 100, (20, 40, 10, 20)),  # a fifth of those so far
        (20, 1, 300, (60, 60, 30, 60)),  # or a tenth
    ],
)
def test_patience_goes_by_passes_and_steps(steps, passes, epochs, expected):
    watch = KeepBest("auto")
    watch.epochs_, watch.passes_ = epochs, passes
    net = SimpleNamespace(average_=SimpleNamespace(steps=steps * epochs))
    found = []
    for watch.is_thorough in (False, True):
        found.append(watch.epochs_allowed(net))
    watch.is_thorough, watch.is_followed = False, True
    for watch.before in (None, KeepBest("auto")):
        found.append(watch.epochs_allowed(net))
    assert tuple(found) == expected
