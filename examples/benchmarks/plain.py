"""The network that others would build: what the estimators' own is compared with."""

from itertools import pairwise

from torch import nn


def plain_network(n_in, n_out, hidden=(128, 128), activation=nn.Tanh):
    """A perceptron without a linear path."""
    sizes = [n_in, *hidden]
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_out))
