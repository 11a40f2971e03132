"""Parameters in one piece of memory: the same numbers, the same steps, no larger pickles."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_vae.training.adamw import AdamW, adamw
from sklearn_vae.training.layout import joined, lay_out, tensors_of, zeros_like

SHAPES = (3, 2), (), (4,), (2, 2, 1)
X = np.random.RandomState(0).standard_normal((60, 5))


def tensors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def pieces_of(module):
    return joined([p.detach() for p in module.parameters()])


def test_what_follows_in_memory_is_one_tensor():
    parts = zeros_like(tensors())
    (one,) = joined(parts)
    one.copy_(torch.arange(15.0))
    assert [part.tolist() for part in parts] == [
        [[0, 1], [2, 3], [4, 5]],
        6,
        [7, 8, 9, 10],
        [[[11], [12]], [[13], [14]]],
    ]


def test_what_does_not_follow_stays_as_it_is():
    apart, parts = tensors(), zeros_like(tensors())
    matrix = torch.zeros(6, 4)
    for given in (
        apart,
        parts[::-1],
        [parts[0], parts[2]],
        [matrix[:, :2], matrix[:, 2:]],
        [matrix[:3].t(), matrix[3:].t()],
        [parts[0], parts[1].double()],
    ):
        assert all(one is other for one, other in zip(joined(given), given, strict=True))
    own = [matrix[:3].t(), apart[1]]
    like = zeros_like(own)
    assert [part.stride() for part in like] == [part.stride() for part in own]
    assert len(joined(like)) == 2
    assert len(joined(zeros_like(own, torch.contiguous_format))) == 1
    assert zeros_like([]) == joined([]) == []


def test_each_tensor_of_a_module_is_found_once():
    shared, plain = nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False)
    plain.register_buffer("nothing", None)
    module = nn.Sequential(plain, shared, nn.Sequential(shared, nn.Linear(3, 2, bias=False)))
    expected = [*module.parameters(), *module.buffers()]
    found = tensors_of(module)
    assert len(found) == 6
    assert all(one is other for one, other in zip(found, expected, strict=True))


def test_a_module_gives_what_it_gave():
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2, bias=False))
    own, x = copy.deepcopy(module), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    lay_out(module)
    assert len(pieces_of(module)) == 1
    assert torch.equal(module(x), own(x))
    assert all(p.requires_grad for p in module.parameters())


def test_the_nets_of_the_estimators_are_laid_out(Estimator):
    model = Estimator(2, max_iter=3, random_state=0).fit(X)
    assert len(pieces_of(model.net_.module_)) == 1
    size = len(pickle.dumps(model))
    with torch.no_grad():
        for p in model.net_.module_.parameters():
            p.data = p.clone()
    assert len(pieces_of(model.net_.module_)) > 1
    assert size <= len(pickle.dumps(model))


@pytest.mark.parametrize("is_loaded", [False, True], ids=["its own state", "a loaded state"])
@pytest.mark.parametrize("is_behind", [False, True], ids=["alike", "one joined later"])
def test_a_step_is_that_of_adamw(is_behind, is_loaded):
    """Also where a parameter has taken fewer steps, as a noise that was held.

    And where the moments do not lie as the parameters do.
    """
    modules = [nn.Linear(3, 4), nn.Linear(3, 4)]
    modules[1].load_state_dict(modules[0].state_dict())
    lay_out(modules[1])
    options = {"lr": 0.1, "weight_decay": 0.1, "fused": True}
    optimizers = [torch.optim.AdamW(module.parameters(), **options) for module in modules]
    generator = torch.Generator().manual_seed(0)
    for step in range(4):
        gradients = [torch.randn(p.shape, generator=generator) for p in modules[0].parameters()]
        if is_behind and step < 2:
            gradients[1] = None
        if is_loaded and step == 2:
            optimizers[1].load_state_dict(copy.deepcopy(optimizers[1].state_dict()))
        for module, optimizer in zip(modules, optimizers, strict=True):
            params = list(module.parameters())
            own = iter(zeros_like([p for i, p in enumerate(params) if gradients[i] is not None]))
            for p, gradient in zip(params, gradients, strict=True):
                p.grad = None if gradient is None else next(own).copy_(gradient)
            (optimizer.step if module is modules[0] else adamw(optimizer))()
    for one, other in zip(*(module.parameters() for module in modules), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    states = [optimizer.state_dict()["state"] for optimizer in optimizers]
    for i, state in states[0].items():
        assert state["step"] == states[1][i]["step"] == (2 if is_behind and i == 1 else 4)
        for name in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(state[name], states[1][i][name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("is_fused", [False, True])
def test_its_own_step_is_that_of_torch(is_fused):
    """With a closure, as skorch calls it, and with settings that came later."""
    modules = [nn.Linear(3, 4), nn.Linear(3, 4)]
    modules[1].load_state_dict(modules[0].state_dict())
    optimizers = [
        kind(module.parameters(), lr=0.1, weight_decay=0.1, fused=is_fused)
        for kind, module in zip((torch.optim.AdamW, AdamW), modules, strict=True)
    ]
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    extra = [nn.Parameter(torch.ones(2)) for _ in modules]

    def losses():
        for module, optimizer, more in zip(modules, optimizers, extra, strict=True):

            def closure(module=module, optimizer=optimizer, more=more):
                optimizer.zero_grad()
                loss = module(x).square().sum() + more.square().sum()
                loss.backward()
                return loss

            yield optimizer.step(closure).item()

    for step in range(4):
        one, other = losses()
        assert one == other
        for optimizer, more in zip(optimizers, extra, strict=True):
            if step == 0:
                optimizer.add_param_group({"params": [more], "lr": 0.01})
            if step == 1:
                optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert len(set(map(str, (optimizer.state_dict() for optimizer in optimizers)))) == 1


def test_a_step_may_be_differentiated():
    rate, weight = torch.tensor(0.1, requires_grad=True), torch.ones(2, requires_grad=True)
    moved = weight.clone()
    optimizer = AdamW([moved], lr=rate, differentiable=True, foreach=False, fused=False)
    moved.grad = torch.tensor([1.0, -2.0])
    optimizer.step()
    (slope,) = torch.autograd.grad(moved.sum(), rate)
    assert torch.isfinite(slope)
