"""The optimizer for many rows, held to its formulas and to Adam."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

from sklearn_vae import VAETransformer
from sklearn_vae.selection import FEW_ROWS
from sklearn_vae.training import SOAP, soap, step
from sklearn_vae.training.callbacks import MOST_STEPS
from sklearn_vae.training.soap import Update, update_of

HOW = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-8, "weight_decay": 0.1}


def layers(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [
        nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
        for shape in shapes
    ]


def gradients(params, steps):
    """Of each step; those of a matrix have sides that differ in size by direction."""
    rng = np.random.RandomState(1)
    scales = [[np.diag(np.linspace(1, 3, n)) @ rng.randn(n, n) for n in p.shape] for p in params]
    for _ in range(steps):
        drawn = [rng.randn(*p.shape) for p in params]
        yield [
            torch.as_tensor(s[0] @ g @ s[1] if len(s) == 2 else g, dtype=torch.float64)
            for g, s in zip(drawn, scales, strict=True)
        ]


def train(params, optimizer, steps=27, how=None):
    update = how or optimizer.step
    for given in gradients(params, steps):
        for p, grad in zip(params, given, strict=True):
            p.grad = grad
        update()
    return [p.detach().numpy() for p in params]


def reference(W, grads, lr, betas, eps, weight_decay):
    """As the head of the module has it, step by step, in the original basis."""
    L, R = grads[0] @ grads[0].T, grads[0].T @ grads[0]
    Q_L, Q_R = np.linalg.qr(L)[0], np.linalg.qr(R)[0]
    mean, squares = np.zeros_like(W), np.zeros_like(W)  # the mean of G, and of the squares of G'
    for t, G in enumerate(grads, 1):
        mean = betas[0] * mean + (1 - betas[0]) * G
        squares = betas[1] * squares + (1 - betas[1]) * (Q_L.T @ G @ Q_R) ** 2
        turned = Q_L.T @ mean @ Q_R / (1 - betas[0] ** t)
        adam = turned / (np.sqrt(squares / (1 - betas[1] ** t)) + eps)
        W = (1 - lr * weight_decay) * W - lr * Q_L @ adam @ Q_R.T
        if t % soap.FRESH == 0:
            L, R = (
                soap.KEPT * kept + (1 - soap.KEPT) * new
                for kept, new in ((L, G @ G.T), (R, G.T @ G))
            )
            order = np.argsort(-np.diag(Q_L.T @ L @ Q_L))
            Q_L, squares = np.linalg.qr((L @ Q_L)[:, order])[0], squares[order]
            order = np.argsort(-np.diag(Q_R.T @ R @ Q_R))
            Q_R, squares = np.linalg.qr((R @ Q_R)[:, order])[0], squares[:, order]
    return W


def test_a_step_is_adams_in_the_eigenbases():
    params = layers((5, 5))  # of one gradient that is not square, one basis would not be unique
    grads = [given[0].numpy() for given in gradients(params, 27)]
    expected = reference(params[0].detach().numpy().copy(), grads, **HOW)
    np.testing.assert_allclose(train(params, SOAP(params, **HOW))[0], expected, rtol=1e-9)


def test_it_is_adam_for_vectors_convolutions_and_wide_sides(monkeypatch):
    monkeypatch.setattr(soap, "WIDEST", 3)
    params = layers((5,), (4, 6), ())
    others = copy.deepcopy(params)
    own, adam = SOAP(params, **HOW), torch.optim.AdamW(others, **HOW)
    for a, b in zip(train(params, own), train(others, adam), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize("widest", [4, 6])
def test_one_side_may_be_too_wide(widest, monkeypatch):
    """It keeps its own basis, so the other side's alone matters."""
    monkeypatch.setattr(soap, "WIDEST", widest)
    for shape in ((4, 9), (9, 4)):
        params = layers(shape)
        other = [nn.Parameter(params[0].detach().t().clone())]
        a = train(params, SOAP(params, **HOW))[0]
        optimizer = SOAP(other, **HOW)
        for given in gradients(layers(shape), 27):
            other[0].grad = given[0].t().clone()
            optimizer.step()
        np.testing.assert_allclose(other[0].detach().t().numpy(), a, rtol=1e-9)


def test_a_step_that_looks_once_is_the_same():
    """And a state that was saved goes on."""
    params = layers((4, 6), (3,))
    others = copy.deepcopy(params)
    one, other = SOAP(params, **HOW), SOAP(others, **HOW)
    for p in params:
        p.grad = torch.zeros_like(p)
    a = train(params, one, how=update_of(one))
    for x, y in zip(a, train(others, other), strict=True):
        np.testing.assert_array_equal(x, y)
    again = SOAP(others, **HOW)
    again.load_state_dict(copy.deepcopy(other.state_dict()))
    for x, y in zip(train(params, one), train(others, again), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)


def test_without_gradients_nothing_moves():
    params = layers((4, 6))
    before = params[0].detach().clone()
    SOAP(params, **HOW).step()
    torch.testing.assert_close(params[0].detach(), before, rtol=0, atol=0)


def test_a_schedule_counts_its_steps():
    params = layers((4, 6))
    optimizer = SOAP(params, **HOW)
    assert isinstance(update_of(optimizer), Update)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule = StepLR(optimizer, 1)
        params[0].grad = torch.ones_like(params[0])
        update_of(optimizer)()
        schedule.step()
    assert not isinstance(update_of(optimizer), Update)


def test_it_gets_along_with_correlated_inputs():
    """A regression on inputs that are nearly the same, where Adam needs many more steps."""
    rng = np.random.RandomState(0)
    x = torch.from_numpy(rng.randn(200, 1) + 0.03 * rng.randn(200, 10))
    y = x @ torch.from_numpy(rng.randn(10, 4))

    def loss_after(make, steps=300):
        layer = nn.Linear(10, 4, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.zero_()
        optimizer = make(layer.parameters(), lr=0.03)

        def closure():
            optimizer.zero_grad()
            loss = (layer(x) - y).square().mean()
            loss.backward()
            return loss

        for _ in range(steps):
            loss = optimizer.step(closure)
        return loss.item()

    assert loss_after(SOAP) < 0.1 * loss_after(torch.optim.Adam)


# --- in a fit -------------------------------------------------------------------------------------

X_MANY = np.random.RandomState(0).randn(FEW_ROWS + 1, 4).astype(np.float32)
QUICK = {"max_iter": 1, "hidden_layer_sizes": (8,), "random_state": 0, "device": "cpu"}


def fitted(X=X_MANY, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return VAETransformer(2, **{**QUICK, **params}).fit(X)


def test_many_rows_are_taken_in_large_batches():
    net = fitted().net_
    assert type(net.optimizer_) is SOAP
    assert net.batch_size == 1024
    assert net.lr == pytest.approx(6e-3 * 8**0.5)
    assert net.keep_best_.most_steps == 400
    assert net.keep_best_.is_followed
    assert not fitted(X_MANY[1:]).net_.keep_best_.is_followed


@pytest.mark.parametrize(
    "params",
    [
        {"X": X_MANY[1:]},
        {"batch_size": 128},
        {"hidden_layer_sizes": (8, 257)},
        {"net_params": {"optimizer": torch.optim.SGD}},
        {"net_params": {"optimizer__eps": 1e-6}},
    ],
    ids=["few rows", "batch_size", "wide layers", "optimizer", "its setting"],
)
def test_nobody_else_is_given_it(params):
    net = fitted(**params).net_
    assert type(net.optimizer_) is not SOAP
    assert net.batch_size == 128
    assert net.lr == 6e-3
    assert net.keep_best_.most_steps == MOST_STEPS


def test_a_stream_is_taken_in_usual_batches():
    model = VAETransformer(2, **QUICK).partial_fit(X_MANY)
    assert isinstance(model.net_.optimizer_, torch.optim.AdamW)
    assert model.net_.batch_size == 128


def test_its_steps_are_written_out(monkeypatch):
    taken, built = [], step.WrittenStep.__init__
    monkeypatch.setattr(
        step.WrittenStep, "__init__", lambda self, net: (taken.append(net), built(self, net))[1]
    )
    with_them = fitted()
    assert taken
    monkeypatch.setattr(step, "LOSSES", {})
    without = fitted()
    np.testing.assert_allclose(with_them.transform(X_MANY), without.transform(X_MANY), atol=1e-3)


def test_a_loss_that_is_lost_is_told():
    with pytest.raises(ValueError, match="Lower learning_rate_init"):
        fitted(learning_rate_init=1e30, max_iter=5)
