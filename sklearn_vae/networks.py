"""Networks: numbers to numbers.

An encoder maps x (n, n_features) to the numbers of a posterior, a decoder maps z (n, n_components)
to the numbers of a likelihood. Either may be any factory ``f(n_in, n_out) -> nn.Module``; `MLP` is
the one that the estimators use by default. It computes

    y = A x + c + net(x),      net = linear, activation, linear, ..., activation, linear

a linear path beside a multilayer perceptron. With no hidden layer only the linear path is left, and
the autoencoder built of two such networks is probabilistic PCA or factor analysis. With hidden
layers the linear path is what lets training start at those models (`start_linear`) instead of far
below them.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

ACTIVATIONS = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class MLP(nn.Module):
    """A multilayer perceptron with a linear path beside it.

    Parameters
    ----------
    n_in, n_out : int
        Number of inputs and outputs.
    hidden_layer_sizes : sequence of int
        Width of each hidden layer, from the input on; empty for a linear map.
    activation : str
        A name in `ACTIVATIONS`.
    """

    def __init__(self, n_in: int, n_out: int, hidden_layer_sizes: Sequence[int] = (), activation: str = "silu"):
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        sizes = [n_in, *hidden_layer_sizes]
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), ACTIVATIONS[activation]())]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], n_out, bias=False)) if layers else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in) to (n, n_out)."""
        return self.linear(x) if self.net is None else self.linear(x) + self.net(x)

    @torch.no_grad()
    def start_linear(self, weight: Tensor, bias: Tensor) -> None:
        """Make this the linear map ``weight @ x + bias``: the last layer of the perceptron starts at 0."""
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)
        if self.net is not None:
            nn.init.zeros_(self.net[-1].weight)

    @torch.no_grad()
    def permute_outputs(self, order: np.ndarray, factors: np.ndarray) -> None:
        """Let output j be ``factors[j]`` times what output ``order[j]`` was."""
        factors = torch.as_tensor(factors, dtype=self.linear.weight.dtype, device=self.linear.weight.device)
        self.linear.bias.copy_(factors * self.linear.bias[order])
        for layer in self._layers(-1):
            layer.weight.copy_(factors[:, None] * layer.weight[order])

    @torch.no_grad()
    def permute_inputs(self, order: np.ndarray, signs: np.ndarray) -> None:
        """Let input j take what was ``signs[j]`` times input ``order[j]``."""
        signs = torch.as_tensor(signs, dtype=self.linear.weight.dtype, device=self.linear.weight.device)
        for layer in self._layers(0):
            layer.weight.copy_(layer.weight[:, order] * signs)

    def _layers(self, i: int) -> list[nn.Linear]:
        return [self.linear] if self.net is None else [self.linear, self.net[i]]
