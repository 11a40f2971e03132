"""Steps of the encoder that would move the posterior too far."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from skorch.callbacks import Callback

from sklearn_vae import VAETransformer
from sklearn_vae.batch import Batch
from sklearn_vae.training.averaging import WARM_UP
from sklearn_vae.training.limits import FARTHEST, Limits


@pytest.fixture(scope="module")
def wide():
    """Rows of 150 columns near a plane, whose posterior is narrow."""
    rng = np.random.RandomState(0)
    return rng.randn(60, 2) @ rng.randn(2, 150) + 0.1 * rng.randn(60, 150)


def net_and_rows(X, **params):
    """A net that was trained for an epoch, and the rows that it was given."""
    model = VAETransformer(2, max_iter=1, random_state=0, **params).fit(X)
    rows = torch.tensor((X - model.mean_) / model.scale_, dtype=torch.float32)
    return model.net_, Batch(rows)


@pytest.mark.parametrize("covariance_type", ["diag", "spherical", "full"])
def test_shares_are_those_of_the_formula(wide, covariance_type):
    net, rows = net_and_rows(wide, covariance_type=covariance_type)
    limits, encoder = Limits.of(net, rows), net.module_.encoder
    assert [w.data_ptr() for w in limits.weights] == [
        encoder.linear.weight.data_ptr(),
        encoder.net[0].weight.data_ptr(),
    ]
    with torch.no_grad():
        sd = net.module_.encode(rows).scale.mean(0).expand(2)
    move = net.lr * rows.x.abs().sum(1).mean().item()
    linear, first = limits.shares
    torch.testing.assert_close(linear[:2, 0], sd / move)
    assert (linear[:2] < 1).all()
    torch.testing.assert_close(linear[2:], torch.full_like(linear[2:], FARTHEST / move))
    assert first.item() == pytest.approx(FARTHEST / move)


def test_a_conditional_standard_deviation_counts(wide):
    """That of a full posterior along its narrowest axis, and not a marginal one."""
    net, rows = net_and_rows(wide, covariance_type="full")
    with torch.no_grad():
        net.module_.encoder.linear.bias[-1] = 5.0  # of the correlation
        q = net.module_.encode(rows)
    share = Limits.of(net, rows).shares[0][1, 0]
    move = net.lr * rows.x.abs().sum(1).mean()
    assert share < 0.5 * q.variance[:, 1].mean().sqrt() / move


def test_few_columns_have_none():
    assert not Limits.of(*net_and_rows(load_iris().data)).weights


def test_only_the_linear_path_of_a_network_of_ones_own_has_one(wide):
    def own(n_in, n_out):
        return torch.nn.Sequential(torch.nn.Linear(n_in, 8), torch.nn.Linear(8, n_out))

    net, rows = net_and_rows(wide, encoder=own)
    (weight,) = Limits.of(net, rows).weights
    assert weight.data_ptr() == net.module_.encoder.linear.weight.data_ptr()


def test_an_optimizer_whose_steps_have_no_bound_has_none(wide):
    net, rows = net_and_rows(wide, net_params={"optimizer": torch.optim.SGD})
    assert not Limits.of(net, rows).weights


class Rate(Callback):
    def on_train_begin(self, net, **kwargs):
        self.share = net.optimizer_.param_groups[0]["lr"] / net.lr


@pytest.mark.parametrize(
    ("params", "share"), [({}, 1.0), ({"optimizer": torch.optim.SGD}, 200 / 300)]
)
def test_wide_tables_have_limits_or_smaller_steps(wide, params, share):
    rate, X = Rate(), np.c_[wide, wide + 0.01 * np.random.RandomState(1).randn(*wide.shape)]
    params = {"callbacks": [rate], **params}
    VAETransformer(2, max_iter=1, early_stopping=False, net_params=params).fit(X)
    assert rate.share == pytest.approx(share)


def test_weights_take_their_share_of_a_step():
    weights = [torch.zeros(2, 3), torch.ones(2, 2)]
    limits = Limits(weights, [torch.tensor([[0.5], [1.0]]), torch.tensor([[0.1]])])

    def step(by):
        for weight in weights:
            weight.add_(by)
        return {"loss": 1.0}

    assert limits.around(step)(4.0) == {"loss": 1.0}
    torch.testing.assert_close(weights[0], torch.tensor([[2.0] * 3, [4.0] * 3]))
    torch.testing.assert_close(weights[1], torch.full((2, 2), 1.4))


class FirstStep(Callback):
    """How far the first step of a fit moved the linear path, and its limits."""

    def on_train_begin(self, net, **kwargs):
        self.before = net.module_.encoder.linear.weight.detach().clone()
        self.moved = None

    def on_batch_end(self, net, training, **kwargs):
        if training and self.moved is None:
            self.moved = net.module_.encoder.linear.weight.detach() - self.before
            self.share = net.limits_.shares[0]


def test_a_fit_keeps_to_them(wide):
    """Adam's first step moves every weight by the learning rate."""
    seen = FirstStep()
    model = VAETransformer(
        2, alpha=0, max_iter=1, early_stopping=False, net_params={"callbacks": [seen]}
    ).fit(wide)
    expected = model.net_.lr / WARM_UP * seen.share.expand_as(seen.moved)
    torch.testing.assert_close(seen.moved.abs(), expected, rtol=0.01, atol=0)
    assert model.net_.limits_ is None
