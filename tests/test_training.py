"""How skorch runs the module: batches, seeds, callbacks, and the door to the rest of skorch."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, EpochScoring, GradientNormClipping, LRScheduler
from torch.utils.data import DataLoader

from sklearn_vae.training import (
    Rows,
    SeededInit,
    StopTraining,
    TensorBatches,
    VAENet,
    available_devices,
    resolve_device,
)

X = load_iris().data


def quick(Estimator, **params):
    defaults = {"hidden_layer_sizes": (16,), "max_iter": 6, "random_state": 0, "early_stopping": True, "init": "random"}
    return Estimator(2, **{**defaults, **params})


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"), [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (3, 4, [3]), (1, 4, [1]), (8, 4, [4, 4])]
)
def test_batches_hold_every_row_once(n, batch_size, sizes):
    x = torch.arange(n, dtype=torch.float32)[:, None]
    for shuffle in (False, True):
        batches = TensorBatches(Rows(x), batch_size, shuffle=shuffle, generator=torch.Generator().manual_seed(0))
        seen = [rows for rows, _ in batches]
        assert [len(rows) for rows in seen] == sizes
        assert len(batches) == len(sizes)
        assert sorted(torch.cat(seen)[:, 0].tolist()) == list(range(n))
        assert (torch.cat(seen)[:, 0].tolist() == list(range(n))) == (not shuffle or n == 1)


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
        with pytest.raises(ValueError, match=rf"device='{name}' is not available.*Available: .*cpu"):
            resolve_device(name)


class Watcher(Callback):
    """Looks at batches, so skorch's own path has to run."""

    def on_batch_end(self, net, **kwargs):
        pass


def test_the_lean_path_is_skorchs_own(Estimator):
    lean = quick(Estimator).fit(X)
    watched = quick(Estimator, net_params={"callbacks": [Watcher]}).fit(X)
    np.testing.assert_allclose(watched.loss_curve_, lean.loss_curve_, rtol=1e-6)
    np.testing.assert_array_equal(watched.transform(X), lean.transform(X))
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
    given = {key: list(value) if isinstance(value, list) else value for key, value in net_params.items()}
    estimator = quick(Estimator, net_params=net_params).fit(X)
    assert np.isfinite(estimator.score(X))
    assert estimator.net_params is net_params
    assert net_params == given


def test_learning_rate_policies_are_obeyed(Estimator):
    policy = LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1)
    estimator = quick(Estimator, max_iter=3, early_stopping=False, net_params={"callbacks": [policy]}).fit(X)
    assert estimator.net_.optimizer_.param_groups[0]["lr"] == pytest.approx(3e-6)
    assert not hasattr(policy, "lr_scheduler_")


def test_checkpoint_finds_what_it_looks_at(Estimator, tmp_path):
    quick(Estimator, net_params={"callbacks": [Checkpoint(dirname=tmp_path)]}).fit(X)
    assert (tmp_path / "params.pt").exists()


class Stop(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise StopTraining


@pytest.mark.parametrize("callback", [Stop(), EarlyStopping(patience=2, threshold=1e9, threshold_mode="abs")])
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


def test_no_data_and_no_generator_survive_fit(Estimator):
    net = quick(Estimator).fit(X).net_
    assert net.train_split is None
    assert not net._noise
    held = [value for value in vars(net).values() if isinstance(value, (torch.Tensor, np.ndarray, Rows))]
    assert not held


def test_verbose_prints_the_units_of_the_data(Estimator, capsys):
    estimator = quick(Estimator, verbose=1).fit(1000 * X)
    assert f"{estimator.loss_curve_[0]:.4f}" in capsys.readouterr().out
    quick(Estimator).fit(X)
    assert not capsys.readouterr().out
