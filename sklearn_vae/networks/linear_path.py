"""A linear path beside any network, and the perceptron.

An encoder maps x (n, n_features) to the numbers of a posterior, a decoder maps z (n, n_components)
to the numbers of a likelihood. Beside either runs a linear path:

    y = A x + c + g * net(x)

`LinearPath` puts it around any network, made by a factory ``f(n_in, n_out) -> nn.Module``. With
g = 0, and with A and c those of probabilistic PCA or factor analysis, the autoencoder is that
model. So training starts there (`start_linear`). Where the network gives 0 if its last layer is 0,
that layer starts at 0 in the place of g. A network learns much faster from there. `MLP` is the
network that the estimators use by default,

    net = linear, activation, linear, ..., activation, linear

whose last layer starts at 0 in the place of g. With no hidden layer only the linear path is left,
and the autoencoder of two such networks is probabilistic PCA or factor analysis.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

MINUS_ONE = torch.tensor(-1.0)  # a number of Python would be made a tensor at each use


def fast_tanh(x: Tensor, out: Tensor | None = None) -> Tensor:
    """Tanh x = 2 logistic(2 x) - 1, to the rounding of numbers near 1.

    torch takes two to eight times as long for its own.
    """
    y = torch.add(x, x, out=out).sigmoid_()
    return torch.add(MINUS_ONE, y, alpha=2, out=y)


class Tanh(nn.Tanh):
    """The hyperbolic tangent, for less where no gradients are asked for."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if torch.is_grad_enabled() else fast_tanh(x)


ACTIVATIONS = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": Tanh,
}

# Numbers of the widest layer that are held at once where no gradients are asked for. So few of them
# stay near a CPU.
NUMBERS, NUMBERS_IN_CACHE = 2**22, 2**18
LAYERS = nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d


@torch.no_grad()
def layers_of(net: nn.Module, n_in: int) -> tuple[list[str], int, bool]:
    """What a network does with a row of n_in numbers.

    Returns
    -------
    names : list of str
        Its linear layers and convolutions, as they are called.
    width : int
        How many numbers the widest layer of any kind gives.
    is_silent : bool
        Whether the network gives nothing but 0.
    """
    names, sizes, was_training = [], [n_in], net.training

    def note(name: str, layer: nn.Module, args: tuple, y: Tensor) -> None:
        sizes.append(y.numel() if isinstance(y, Tensor) else 0)
        if isinstance(layer, LAYERS):
            names.append(name)

    hooks = [
        layer.register_forward_hook(partial(note, name)) for name, layer in net.named_modules()
    ]
    try:
        y = net.eval()(torch.linspace(-1, 1, n_in)[None])
    finally:
        net.train(was_training)
        for hook in hooks:
            hook.remove()
    return names, max(sizes), not y.any()


def last_layer(net: nn.Module, n_in: int, names: Sequence[str]) -> str | None:
    """The last of a network's layers, if the network gives 0 without it; None if it does not."""
    if not names:
        return None
    layer = net.get_submodule(names[-1])
    before = copy.deepcopy(layer.state_dict())
    _make_zero(layer)
    *_, is_silent = layers_of(net, n_in)
    layer.load_state_dict(before)
    return names[-1] if is_silent else None


def dense(sizes: Sequence[int], activation: type[nn.Module]) -> list[nn.Module]:
    """Linear layers from each of the sizes to the next, an activation after each."""
    return [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), activation())]


@torch.no_grad()
def _make_zero(layer: nn.Module) -> None:
    for weights in layer.parameters():
        weights.zero_()


class LinearPath(nn.Module):
    """A network with a linear path beside it.

    Parameters
    ----------
    n_in, n_out : int
        Number of inputs and outputs.
    make : callable
        ``make(n_in, n_out) -> nn.Module``, the network.

    Attributes
    ----------
    width : int
        How many numbers the widest layer gives for a row. In evaluation the network is given so
        many rows at once that its memory is bounded.
    last : str or None
        The name of the network's last layer, if that may start at 0 in the place of the gate.
    """

    def __init__(self, n_in: int, n_out: int, make: Callable):
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.net = make(n_in, n_out)
        names, self.width, _ = layers_of(self.net, n_in)
        self.last = last_layer(self.net, n_in, names)
        self.gate = nn.Parameter(torch.ones(n_out))
        # Which of the network's own inputs and outputs are which, times which factor.
        self.register_buffer("inputs", torch.arange(n_in))
        self.register_buffer("outputs", torch.arange(n_out))
        self.register_buffer("input_factors", torch.ones(n_in))
        self.register_buffer("output_factors", torch.ones(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in) to (n, n_out)."""
        y = self._beside((x * self.input_factors).index_select(1, self.inputs))
        y = y.index_select(1, self.outputs)
        return torch.addcmul(self.linear(x), self.gate * self.output_factors, y)

    def _beside(self, x: Tensor) -> Tensor:
        """What the network gives for x (n, n_in), in parts where memory is to be bounded."""
        numbers = NUMBERS_IN_CACHE if x.device.type == "cpu" else NUMBERS
        n_rows = max(1, numbers // self.width)
        if torch.is_grad_enabled() or self.training or len(x) <= n_rows:
            return self.net(x)
        return torch.cat([self.net(part) for part in x.split(n_rows)])

    @property
    def is_linear(self) -> bool:
        """Whether this is a linear map, whatever is learned."""
        return False

    @torch.no_grad()
    def start_linear(self, weight: Tensor, bias: Tensor) -> None:
        """Make this the linear map ``weight @ x + bias`` of the first inputs."""
        self.linear.weight.zero_()
        self.linear.weight[:, : weight.shape[1]] = weight
        self.linear.bias.copy_(bias)
        self._silence()

    def _silence(self) -> None:
        if self.last is None:
            self.gate.zero_()
        else:
            _make_zero(self.net.get_submodule(self.last))

    @torch.no_grad()
    def permute_outputs(self, order: np.ndarray, factors: np.ndarray) -> None:
        """Let output j be ``factors[j]`` times what output ``order[j]`` was."""
        factors = torch.as_tensor(factors).to(self.linear.weight)
        self.linear.bias.copy_(factors * self.linear.bias[order])
        self.linear.weight.copy_(factors[:, None] * self.linear.weight[order])
        self._permute_outputs_of_net(torch.as_tensor(order, device=factors.device), factors)

    def _permute_outputs_of_net(self, order: Tensor, factors: Tensor) -> None:
        self.outputs.copy_(self.outputs[order])
        self.output_factors.copy_(factors * self.output_factors[order])
        self.gate.copy_(self.gate[order])

    @torch.no_grad()
    def permute_inputs(self, order: np.ndarray, signs: np.ndarray) -> None:
        """Let input j take what was ``signs[j]`` times input ``order[j]``.

        Inputs after the last of `order` stay as they are.
        """
        others = np.arange(len(order), self.linear.in_features)
        order, signs = np.append(order, others), np.append(signs, np.ones(len(others)))
        signs = torch.as_tensor(signs).to(self.linear.weight)
        self.linear.weight.copy_(self.linear.weight[:, order] * signs)
        self._permute_inputs_of_net(torch.as_tensor(order, device=signs.device), signs)

    def _permute_inputs_of_net(self, order: Tensor, signs: Tensor) -> None:
        self.input_factors.copy_(signs * self.input_factors[order])
        self.inputs.copy_(torch.argsort(order)[self.inputs])


class MLP(LinearPath):
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

    def __init__(
        self,
        n_in: int,
        n_out: int,
        hidden_layer_sizes: Sequence[int] = (),
        activation: str = "silu",
    ):
        nn.Module.__init__(self)
        self.linear = nn.Linear(n_in, n_out)
        self.width = max(n_in, n_out, *hidden_layer_sizes)
        sizes, act = [n_in, *hidden_layer_sizes], ACTIVATIONS[activation]
        layers = dense(sizes, act)
        last = nn.Linear(sizes[-1], n_out, bias=False) if layers else None
        self.net = nn.Sequential(*layers, last) if layers else None

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if self.net is None else self.linear(x) + self.net(x)

    @property
    def is_linear(self) -> bool:
        return self.net is None

    def _silence(self) -> None:
        if self.net is not None:
            nn.init.zeros_(self.net[-1].weight)

    def _permute_outputs_of_net(self, order: Tensor, factors: Tensor) -> None:
        if self.net is not None:
            last = self.net[-1].weight
            last.copy_(factors[:, None] * last[order])

    def _permute_inputs_of_net(self, order: Tensor, signs: Tensor) -> None:
        if self.net is not None:
            first = self.net[0].weight
            first.copy_(first[:, order] * signs)
