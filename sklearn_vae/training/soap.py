r"""SOAP: Adam in the eigenbases of a layer's gradients (Vyas et al. 2024, arXiv:2409.11321).

Adam divides each entry of a gradient by its usual size. That is of little use where entries vary
together, as the weights of correlated inputs do. For a layer with the weights W and their gradient
G, Shampoo (Gupta et al. 2018) keeps

    L = mean of G G^T,      R = mean of G^T G.

SOAP takes Adam's step in their eigenbases. With the eigenvectors as the columns of Q_L and Q_R,

    G' = Q_L^T G Q_R,       W <- W - Q_L adam(G') Q_R^T.

Every `FRESH` steps L and R take in the gradient of that step, and Q takes a step of orthogonal
iteration towards the eigenvectors, Q <- qr(L Q). The mean of G' turns with it. The mean of its
squares stays, as published. Vectors, convolutions and sides wider than `WIDEST` are left to Adam.

A step costs more than Adam's, whatever the size of the batch. So it pays with large batches.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.linalg import qr

from .adamw import MOMENTS, ONE, Uncompiled, adamw, is_plain, states_of

WIDEST = 256
FRESH = 10  # steps
KEPT = 0.7  # of L and R, when they take in a gradient
SIDES = 0, 1  # rows of W, which L is of, and columns, which R is of


class SOAP(Uncompiled):
    """Adam in the eigenbases of a layer's gradients.

    Parameters
    ----------
    params : iterable
        As for every optimizer of torch.

    lr : float
    betas : tuple of float
        What the means of G' and of its squares keep of themselves in a step.
    eps, weight_decay : float
        As for `torch.optim.AdamW`.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step by the gradients that the parameters have, or that `closure` gives them."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            Update(self, group)()
        return loss


class Turned:
    """A layer whose steps are taken in other bases.

    Attributes
    ----------
    moved : Tensor
        What a step adds to Q_L^T W Q_R.
    """

    def __init__(self, weight: Tensor, state: dict[str, Tensor]):
        self.weight, self.state, self.moved = weight, state, torch.zeros_like(state["exp_avg"])
        self.sides = [side for side in SIDES if weight.shape[side] <= WIDEST]
        for side in self.sides:
            if f"basis_{side}" not in state:
                state[f"square_{side}"] = square(weight.grad, side)
                state[f"basis_{side}"] = qr(state[f"square_{side}"])[0]
        self.left, self.right = (state.get(f"basis_{side}") for side in SIDES)

    def gradient(self) -> Tensor:
        """G'."""
        grad = self.weight.grad
        grad = grad if self.left is None else self.left.t() @ grad
        return grad if self.right is None else grad @ self.right

    def move(self, decay: float) -> None:
        """Take the step."""
        if self.right is None:
            self.weight.addmm_(self.left, self.moved, beta=decay)
        else:
            moved = self.moved if self.left is None else self.left @ self.moved
            self.weight.addmm_(moved, self.right.t(), beta=decay)

    def refresh(self) -> None:
        """Take in the gradient, and let the bases follow."""
        mean, squares = self.state["exp_avg"], self.state["exp_avg_sq"]
        for side in self.sides:
            kept, basis = self.state[f"square_{side}"], self.state[f"basis_{side}"]
            kept.lerp_(square(self.weight.grad, side), 1 - KEPT)
            nearer = kept @ basis
            # The largest eigenvalues first, as orthogonal iteration finds them.
            order = (basis * nearer).sum(0).argsort(descending=True)
            new = qr(nearer[:, order])[0]
            turn = new.t() @ basis
            mean.copy_(turn @ mean if side == 0 else mean @ turn.t())
            squares.copy_(squares.index_select(side, order))
            basis.copy_(new)


def square(grad: Tensor, side: int) -> Tensor:
    """G G^T or G^T G."""
    return grad @ grad.t() if side == 0 else grad.t() @ grad


class Update:
    """A step on the parameters of a group that have gradients; they are looked for once."""

    def __init__(self, optimizer: SOAP, group: dict):
        self.optimizer, self.group, self.moved = optimizer, group, None
        self.params = [p for p in group["params"] if p.grad is not None]

    def _begin(self) -> None:
        """Make the state of parameters that have none, by their first gradients."""
        # Contiguous, as the products of matrices are that they are found from.
        states, self.counts = states_of(self.optimizer, self.params, torch.contiguous_format)
        self.steps = int(self.counts.max())
        turned = [
            Turned(p, state) if p.ndim == 2 and min(p.shape) <= WIDEST else None
            for p, state in zip(self.params, states, strict=True)
        ]
        self.turned = [layer for layer in turned if layer]
        self.sources = list(zip(self.params, turned, strict=True))
        self.moved = [p if layer is None else layer.moved for p, layer in self.sources]
        self.lists = [[state[name] for state in states] for name in MOMENTS]

    @torch.no_grad()
    def __call__(self) -> None:
        if not self.params:
            return
        if self.moved is None:
            self._begin()
        self.counts.add_(ONE)
        self.steps += 1
        grads = [p.grad if layer is None else layer.gradient() for p, layer in self.sources]
        if self.turned:
            torch._foreach_zero_([layer.moved for layer in self.turned])
        means, squares, counts = self.lists
        options = {name: self.group[name] for name in ("lr", "weight_decay", "eps")}
        beta1, beta2 = self.group["betas"]
        options |= {"beta1": beta1, "beta2": beta2, "amsgrad": False, "maximize": False}
        torch._fused_adamw_(self.moved, grads, means, squares, [], counts, **options)
        for layer in self.turned:
            layer.move(1 - options["lr"] * options["weight_decay"])
        if self.steps % FRESH == 0:
            for layer in self.turned:
                layer.refresh()


def update_of(optimizer: torch.optim.Optimizer) -> Callable:
    """What to call in the place of ``optimizer.step``, for AdamW and SOAP."""
    if type(optimizer) is not SOAP:
        return adamw(optimizer)
    return Update(optimizer, optimizer.param_groups[0]) if is_plain(optimizer) else optimizer.step
