r"""A convolutional network with its gradients written out.

A prime marks the derivative of a loss by a quantity. For the linear path beside a network,
y = A x + c + g u, where u is what the network gives for x,

    A' = y'^T x      c' = sum of rows of y'      g' = sum of rows of y' u      u' = y' g

and x' is that of both paths. Inputs and outputs of the network come in another order where
components were put in order. A convolution is linear as well. The derivative by what it takes is
its transpose, and that of a transposed convolution is the convolution.
"""

import torch
from torch import Tensor, nn

from ..networks import ConvDecoder, ConvEncoder, Doubling, LinearPath, is_narrow, transposed
from .perceptron import ACTIVATIONS, Layer

aten = torch.ops.aten


class Dense(Layer):
    """A linear layer of a chain."""

    def __call__(self, x: Tensor) -> Tensor:
        self.x = x
        return super().__call__(x)

    def backward(self, grad: Tensor, to_input: bool) -> Tensor | None:
        super().backward(self.x, grad)
        return self.to_input(grad) if to_input else None


class Convolution:
    """A convolution that halves the sides, or a transposed one."""

    def __init__(self, layer: nn.Conv2d | Doubling):
        self.layer, self.grads = layer, (layer.weight.grad, layer.bias.grad)

    def __call__(self, x: Tensor) -> Tensor:
        self.x = x
        return self.layer(x)

    def backward(self, grad: Tensor, to_input: bool) -> Tensor | None:
        layer, x = self.layer, self.x
        is_even = not any(side % 2 for side in x.shape[2:])
        by_hand = not layer.transposed and is_even and is_narrow(grad, layer.in_channels)
        x_grad, *found = aten.convolution_backward.default(
            grad,
            x,
            layer.weight,
            [layer.out_channels],
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.transposed,
            layer.output_padding,
            layer.groups,
            [to_input and not by_hand, True, True],
        )
        for kept, new in zip(self.grads, found, strict=True):
            kept.copy_(new)
        return transposed(grad, layer.weight) if to_input and by_hand else x_grad


class Activation:
    """An activation of a chain."""

    def __init__(self, layer: nn.Module):
        self.activate, self.differentiate, self.of_output = ACTIVATIONS[type(layer)]

    def __call__(self, a: Tensor) -> Tensor:
        h = self.activate(a)
        self.kept = h if self.of_output else a
        return h

    def backward(self, grad: Tensor, to_input: bool) -> Tensor:
        return self.differentiate(grad, self.kept)


class Reshaping:
    """Images as rows, or rows as images."""

    def __init__(self, layer: nn.Module):
        self.layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        self.shape = x.shape
        return self.layer(x)

    def backward(self, grad: Tensor, to_input: bool) -> Tensor:
        return grad.reshape(self.shape)


PARTS = {
    nn.Linear: Dense,
    nn.Conv2d: Convolution,
    Doubling: Convolution,
    nn.Flatten: Reshaping,
    nn.Unflatten: Reshaping,
    **dict.fromkeys(ACTIVATIONS, Activation),
}


def is_convolutional(network: nn.Module) -> bool:
    """Whether `ImageNetwork` computes what a network does."""
    own = type(network) is LinearPath and type(network.net) in (ConvEncoder, ConvDecoder)
    return own and {*map(type, network.net.layers)} <= PARTS.keys()


def taken(x: Tensor, order: Tensor) -> Tensor:
    """Columns of x in an order; x itself where it is theirs."""
    return x if order is None else x.index_select(1, order)


class ImageNetwork:
    """A `ConvEncoder` or a `ConvDecoder` with a linear path beside it."""

    def __init__(self, path: LinearPath):
        self.path, self.net, self.linear = path, path.net, Layer(path.linear)
        self.parts = [PARTS[type(layer)](layer) for layer in path.net.layers]
        # Which column is which, and back; None where they are in order.
        for name, order in {"ins": path.inputs, "outs": path.outputs}.items():
            in_order = torch.equal(order, torch.arange(len(order)))
            setattr(self, name, (None, None) if in_order else (order, torch.argsort(order)))

    def __call__(self, x: Tensor) -> Tensor:
        path, net, self.x = self.path, self.net, x
        h = taken(x * path.input_factors, self.ins[0])
        h = net.to_image(h) if isinstance(net, ConvEncoder) else h
        for part in self.parts:
            h = part(h)
        self.pixels = h
        h = net.to_rows(h) if isinstance(net, ConvDecoder) else h
        self.u = taken(h, self.outs[0])
        self.factor = path.gate * path.output_factors
        return torch.addcmul(self.linear(x), self.factor, self.u)

    def backward(self, grad: Tensor, to_input: bool = True) -> Tensor | None:
        """The gradient by x, which of an encoder is not asked for."""
        path = self.path
        self.linear.backward(self.x, grad)
        torch.mul((grad * self.u).sum(0), path.output_factors, out=path.gate.grad)
        below = taken(grad * self.factor, self.outs[1])
        if isinstance(self.net, ConvDecoder):
            below = self.net.to_image(below)
        for k in reversed(range(len(self.parts))):
            below = self.parts[k].backward(below, to_input or k > 0)
        if not to_input:
            return None
        own = taken(below, self.ins[1]) * path.input_factors
        return own.addmm_(grad, self.linear.weight)
