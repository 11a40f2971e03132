r"""A perceptron with its gradients written out.

A prime marks the derivative of a loss by a quantity. With h_0 = x, h_k = act(a_k),
a_k = W_k h_{k-1} + b_k, y = A x + c + V h_K, and with rows in matrices,

    A' = y'^T x         c' = sum of rows of y'         V' = y'^T h_K        h_K' = y' V
    a_k' = h_k' act'    W_k' = a_k'^T h_{k-1}          b_k' = sum of rows of a_k'
    h_{k-1}' = a_k' W_k                                x' = y' A + h_0'
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from ..networks import MLP, Tanh

aten = torch.ops.aten


def tanh(x: Tensor) -> Tensor:
    """NumPy's, written over x: torch takes four to twelve times as long."""
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


class Layer:
    """A linear layer; gradients are written where its parameters keep them."""

    def __init__(self, layer: nn.Linear):
        self.weight, self.weight_grad = layer.weight, layer.weight.grad
        self.bias, self.bias_grad = layer.bias, getattr(layer.bias, "grad", None)

    def __call__(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)

    def backward(self, x: Tensor, grad: Tensor) -> None:
        torch.mm(grad.t(), x, out=self.weight_grad)
        if self.bias is not None:
            torch.sum(grad, 0, out=self.bias_grad)


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
        return y.addmm_(self.seen[-1], self.layers[-1].weight.t()) if self.layers else y

    def backward(self, grad: Tensor, to_input: bool = True) -> Tensor | None:
        self.linear.backward(self.seen[0], grad)
        x_grad = torch.mm(grad, self.linear.weight) if to_input else None
        for k in reversed(range(len(self.layers))):
            self.layers[k].backward(self.seen[k], grad)
            if k:
                above, (_, differentiate, _) = self.layers[k].weight, self.activations[k - 1]
                grad = differentiate(torch.mm(grad, above), self.kept[k - 1])
        return x_grad.addmm_(grad, self.layers[0].weight) if to_input and self.layers else x_grad
