"""The network that others would build: what the estimators' own is compared with."""

from itertools import pairwise

import torch
from torch import nn


class PlainPath(nn.Module):
    """In the place of `sklearn_vae.networks.LinearPath`: the network alone."""

    def __init__(self, n_in, n_out, make):
        super().__init__()
        self.net = make(n_in, n_out)

    @property
    def is_linear(self):
        """Whether this is a linear map, whatever is learned."""
        return False

    def forward(self, x):
        """Map (n, n_in) to (n, n_out)."""
        return self.net(x)

    def permute_outputs(self, order, factors):
        """Permute those of the last layer."""
        with torch.no_grad():
            factors = torch.as_tensor(factors, dtype=torch.float32)
            self.net[-1].weight.copy_(factors[:, None] * self.net[-1].weight[order])
            self.net[-1].bias.copy_(factors * self.net[-1].bias[order])

    def permute_inputs(self, order, signs):
        """Permute those of the first layer."""
        with torch.no_grad():
            signs = torch.as_tensor(signs, dtype=torch.float32)
            self.net[0].weight.copy_(self.net[0].weight[:, order] * signs)


def plain_network(n_in, n_out, hidden=(128, 128), activation=nn.Tanh):
    """A perceptron without a linear path."""
    sizes = [n_in, *hidden]
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_out))
