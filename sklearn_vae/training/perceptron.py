r"""A perceptron with its gradients written out.

A prime marks the derivative of a loss by a quantity. With h_0 = x, h_k = act(a_k),
a_k = W_k h_{k-1} + b_k, y = A x + c + V h_K, and with rows in matrices,

    A' = y'^T x         c' = sum of rows of y'         V' = y'^T h_K        h_K' = y' V
    a_k' = h_k' act'    W_k' = a_k'^T h_{k-1}          b_k' = sum of rows of a_k'
    h_{k-1}' = a_k' W_k                                x' = y' A + h_0'

What a layer gives is written over what it gave for as many rows before: memory that was just used
is still near the CPU.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ..networks import MLP, Tanh, fast_tanh

aten = torch.ops.aten
NARROW = 32  # columns
HAS_LONG_VECTORS = "AVX512" in torch.backends.cpu.get_cpu_capability()


def tanh(x: Tensor) -> Tensor:
    """Tanh, written over x.

    Where vectors are long, NumPy's takes least; torch's takes four to twelve times as long.
    """
    if not HAS_LONG_VECTORS:
        return fast_tanh(x, out=x)
    numbers = x.numpy()
    np.tanh(numbers, out=numbers)
    return x


def tanh_backward(grad: Tensor, h: Tensor) -> Tensor:
    """A gradient times 1 - h^2, written over it."""
    return aten.tanh_backward.grad_input(grad, h, grad_input=grad)


# An activation, a gradient times its derivative, and whether that is a function of its output.
ACTIVATIONS = {
    nn.ReLU: (torch.relu, lambda grad, h: aten.threshold_backward.default(grad, h, 0), True),
    nn.Sigmoid: (torch.sigmoid, aten.sigmoid_backward.default, True),
    nn.SiLU: (silu, aten.silu_backward.default, False),
    Tanh: (tanh, tanh_backward, True),
}


def is_perceptron(network: nn.Module) -> bool:
    """Whether `Network` computes what a network does."""
    if type(network) is not MLP:
        return False
    net = list(network.net or ())
    linears, others = {*map(type, [network.linear, *net[::2]])}, {*map(type, net[1::2])}
    return linears == {nn.Linear} and others <= ACTIVATIONS.keys()


def is_long(n: int, width: int) -> bool:
    """Whether a product (n, width) is found in a quarter to a half of the time by columns."""
    return width < min(NARROW, n)


class Kept(dict):
    """Matrices of `width` columns by their number of rows, made when first asked for.

    Their numbers are of the type of the weights.
    """

    def __init__(self, width: int, weight: Tensor):
        self.width, self.weight = width, weight

    def __missing__(self, n: int) -> Tensor:
        make, width = self.weight.new_empty, self.width
        self[n] = make(width, n).t() if is_long(n, width) else make(n, width)
        return self[n]


class Layer:
    """A linear layer; gradients are written where its parameters keep them."""

    def __init__(self, layer: nn.Linear):
        self.weight, self.weight_grad = layer.weight, layer.weight.grad
        self.transposed = layer.weight.detach().t()
        self.bias, self.bias_grad = layer.bias, getattr(layer.bias, "grad", None)
        n_out, n_in = layer.weight.shape
        self.outputs, self.input_grads = (Kept(width, self.weight) for width in (n_out, n_in))
        self.by_columns = is_long(n_out, n_in)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.transposed, out=self.outputs[x.shape[0]])

    def backward(self, x: Tensor, grad: Tensor) -> None:
        """The gradients of its parameters."""
        if self.by_columns:
            self.weight_grad.copy_(torch.mm(x.t(), grad).t())
        else:
            torch.mm(grad.t(), x, out=self.weight_grad)
        if self.bias is not None:
            torch.sum(grad, 0, out=self.bias_grad)

    def to_input(self, grad: Tensor) -> Tensor:
        """The gradient of what it was given."""
        return torch.mm(grad, self.weight, out=self.input_grads[grad.shape[0]])


class Network:
    """An `MLP`."""

    def __init__(self, mlp: MLP):
        net = list(mlp.net or ())
        self.linear, self.layers = Layer(mlp.linear), [Layer(layer) for layer in net[::2]]
        self.activations = [ACTIVATIONS[type(layer)] for layer in net[1::2]]

    def __call__(self, x: Tensor) -> Tensor:
        y, self.seen, self.kept = self.linear(x), [x], []
        for layer, (activate, _, of_output) in zip(self.layers, self.activations, strict=False):
            a = layer(self.seen[-1])
            self.seen.append(activate(a))
            self.kept.append(self.seen[-1] if of_output else a)
        return y.addmm_(self.seen[-1], self.layers[-1].transposed) if self.layers else y

    def backward(self, grad: Tensor, to_input: bool = True) -> Tensor | None:
        self.linear.backward(self.seen[0], grad)
        x_grad = self.linear.to_input(grad) if to_input else None
        for k in reversed(range(len(self.layers))):
            self.layers[k].backward(self.seen[k], grad)
            if k:
                _, differentiate, _ = self.activations[k - 1]
                grad = differentiate(self.layers[k].to_input(grad), self.kept[k - 1])
        return x_grad.addmm_(grad, self.layers[0].weight) if to_input and self.layers else x_grad
