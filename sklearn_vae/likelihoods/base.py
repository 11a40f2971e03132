"""What the likelihoods share: their interface, and how numbers are bounded."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

LOG_LIMIT = 30.0


def bounded(logarithm: Tensor) -> Tensor:
    """Keep a logarithm within +-30, smoothly: the identity near 0."""
    return LOG_LIMIT * torch.tanh(logarithm / LOG_LIMIT)


def unbounded(logarithm: Tensor) -> Tensor:
    """The inverse of `bounded`."""
    return LOG_LIMIT * torch.atanh((logarithm / LOG_LIMIT).clamp(-0.999, 0.999))


def float32(array: np.ndarray) -> Tensor:
    """A tensor in the precision of training."""
    return torch.as_tensor(array, dtype=torch.float32)


def log_distance(z: Tensor) -> Tensor:
    """How far from the centre z (..., d) is: log((1 + |z|^2 / d) / 2), of shape (..., 1)."""
    return torch.log1p(z.square().mean(-1, keepdim=True)) - math.log(2)


def by_row(p: Distribution) -> Distribution:
    """A distribution over rows, from one over their entries."""
    return Independent(p, 1, validate_args=False)


class Likelihood(nn.Module):
    """Base of the families.

    Parameters
    ----------
    n_features : int
        Number of features.

    Attributes
    ----------
    rescales : bool
        Whether x may be centred and scaled: true of densities on all of R^D.
    learns_noise : bool
        Whether there is a noise variance of the model's own, learned.
    measures_growth : bool
        Whether it is to be found out how that noise grows with the distance of z from the centre.
    support : str
        The values that x may take, for people.
    remedy : str
        What to do with data that take others.
    """

    rescales = False
    learns_noise = False
    measures_growth = False
    support = "any real number"
    remedy = ""

    def __init__(self, n_features: int):
        super().__init__()
        self.n_features = n_features

    @property
    def n_numbers(self) -> int:
        """How many numbers the decoder gives for each sample."""
        return self.n_features

    @staticmethod
    def supports(X: np.ndarray) -> np.ndarray:
        """Which entries of X are in the support."""
        return np.ones(X.shape, dtype=bool)

    def encode(self, x: Tensor) -> Tensor:
        """What the encoder sees of x."""
        return x

    def forward(self, numbers: Tensor, z: Tensor | None = None) -> Distribution:
        """p(x | z), over rows of n_features.

        Parameters
        ----------
        numbers : Tensor of shape (..., n_numbers)
            The decoder's, for z.
        z : Tensor of shape (..., d), optional
            Needed where the noise grows with it.
        """
        raise NotImplementedError

    def draw(self, p: Distribution, rng: np.random.RandomState) -> np.ndarray:
        """Draws of p(x | z), one row per element of p."""
        raise NotImplementedError

    def start(self, model) -> tuple[Tensor, Tensor]:
        """Take a linear model: set the noise, give the decoder's weight and bias.

        Parameters
        ----------
        model : sklearn_vae.selection.linear.LinearModel

        Returns
        -------
        weight, bias : Tensor of shape (n_numbers, d) and (n_numbers,)
        """
        raise NotImplementedError

    def of_mean(self, mean: Tensor) -> Tensor:
        """The decoder's numbers that give about this mean (n_features,).

        For where no linear model can be the start.
        """
        raise NotImplementedError
