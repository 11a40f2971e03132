r"""Smaller steps where a full one would move too far what the encoder gives.

Adam moves a weight by up to the learning rate, whatever the gradient. So a step moves what a layer
gives for a row x by up to

    move = lr sum_j |x_j|,

which grows with the number of features. How far is too far depends on what is moved. If the mean of
q(z | x) moves by more than the posterior's standard deviation s, the decoder sees a z that stands
for other rows. With many features or little noise, training then ends before it has begun. So in a
step the weights go only a share of the way that the optimizer has moved them,

    min(1, s_i / move)       on the linear path to the mean of z_i,
    min(1, FARTHEST / move)  on that to other numbers, and in the first layer of a perceptron,

with s_i and the sum as means over the rows where a training begins, and lr the net's own rate, of
which later stages take a share.
"""

from collections.abc import Callable
from typing import Any

import torch
from skorch import NeuralNet
from torch import Tensor

from ..batch import Batch
from ..networks import MLP, LinearPath
from .batches import thinned
from .soap import SOAP

FARTHEST = 0.25  # what a step may add to a logarithm of a variance, or to what a unit takes in
SAMPLED = 2_000  # rows


def has_limits(net: NeuralNet) -> bool:
    """Whether steps of a net are limited in all layers that take the features."""
    return _is_bounded(net) and isinstance(net.module_.encoder, MLP)


def _is_bounded(net: NeuralNet) -> bool:
    """Whether a step moves a weight by up to the learning rate."""
    return isinstance(net.optimizer_, (torch.optim.Adam, SOAP))


class Limits:
    """Weights, and the share of each step that they take.

    Parameters
    ----------
    weights, shares : sequence of Tensor
        Each share is of a shape that its weight broadcasts with.
    """

    def __init__(self, weights: list[Tensor], shares: list[Tensor]):
        self.weights, self.shares = weights, shares
        self.before = [torch.empty_like(weight) for weight in weights]

    @classmethod
    @torch.no_grad()
    def of(cls, net: NeuralNet, rows: Batch) -> "Limits":
        """Those of a net that is to be trained on rows, which are none for most."""
        module, d = net.module_, net.module_.n_components
        encoder = module.encoder
        if not _is_bounded(net) or not isinstance(encoder, LinearPath):
            return cls([], [])
        some = thinned(rows, SAMPLED)
        move = net.lr * module.encoder_input(some).abs().sum(1).mean()
        linear = encoder.linear.weight.detach()
        farthest = torch.full_like(linear[:, 0], FARTHEST)
        farthest[:d] = module.encode(some).scale.mean(0)
        pairs = [(linear, farthest[:, None])]
        if isinstance(encoder, MLP) and not encoder.is_linear:
            first = encoder.net[0].weight.detach()
            pairs.append((first, torch.full_like(first[:1, :1], FARTHEST)))
        pairs = [(weight, (limit / move).clamp(max=1)) for weight, limit in pairs]
        pairs = [(weight, share) for weight, share in pairs if (share < 1).any()]
        return cls([weight for weight, _ in pairs], [share for _, share in pairs])

    def around(self, step_fn: Callable[..., dict]) -> Callable[..., dict]:
        """A step of which the weights take their shares."""
        if not self.weights:
            return step_fn

        def step(*args: Any, **kwargs: Any) -> dict:
            torch._foreach_copy_(self.before, self.weights)
            result = step_fn(*args, **kwargs)
            for weight, before, share in zip(self.weights, self.before, self.shares, strict=True):
                torch.lerp(before, weight, share, out=weight)
            return result

        return step
