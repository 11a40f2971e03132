"""What the likelihoods share: their interface, and how numbers are bounded."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..parts import Part

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


class Columns(NamedTuple):
    """What is known of each column before training, (n_features,) each."""

    mean: np.ndarray
    variance: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray


class Likelihood(Part, nn.Module):
    """Base of the families: what an estimator asks of a likelihood.

    The constructor takes and stores parameters. `build` makes what is learned, for one fit. A
    family has to define `forward`. All else has a default.

    Attributes
    ----------
    support : str
        The values that x may take, for people.
    remedy : str
        What to do with data that take others.

    linear_model : str or None
        The linear model that training starts at, a name in `sklearn_vae.selection.LINEAR_MODELS`.
        None where training starts at random weights.
    models_inputs : bool
        Whether that is a model of what the encoder sees, `encode(x)`, and not of x.

    noise : Noise or None
        The noise around the mean, where it is additive and no function of the decoder.
    n_features : int
        Number of features, after `build`.
    """

    support = "any real number"
    remedy = ""
    linear_model = None
    models_inputs = False

    def __init__(self):
        super().__init__()
        self.noise = None

    def build(self, scale: np.ndarray) -> "Likelihood":
        """Make what is learned, for x that was divided by `scale` (n_features,); return self."""
        self.scale = scale
        self.n_features = len(scale)
        return self

    @property
    def n_numbers(self) -> int:
        """How many numbers the decoder gives for each sample."""
        return self.n_features

    @property
    def n_inputs(self) -> int:
        """How many numbers the encoder sees of each sample, what `encode` gives."""
        return self.n_features

    @property
    def owner(self) -> np.ndarray:
        """Which column each of those numbers is of, (n_inputs,)."""
        return np.arange(self.n_features)

    def restricted(self, kept: np.ndarray) -> "Likelihood":
        """The same likelihood for some of the columns, where `kept` (n_features,) is True."""
        return self

    # --- before training --------------------------------------------------------------------------

    def supports(self, X: np.ndarray) -> np.ndarray:
        """Which entries of X are in the support."""
        return np.ones(X.shape, dtype=bool)

    def scaling(self, columns: Columns, standardize: bool | str) -> tuple[np.ndarray, np.ndarray]:
        """What x is centred and scaled by, (n_features,) each: here 0 and 1.

        Columns of scale 0 are left out of the model.

        Parameters
        ----------
        columns : Columns
        standardize : bool or "auto"
            As for the estimator.
        """
        return np.zeros(len(columns.mean)), np.ones(len(columns.mean))

    def typical(self, x: np.ndarray) -> np.ndarray:
        """What stands for a missing value of each column of x, if nothing else is known."""
        count = np.maximum((~np.isnan(x)).sum(axis=0), 1)
        return np.nansum(x, axis=0) / count

    def start(self, model: NamedTuple) -> tuple[Tensor, Tensor]:
        """Take a linear model: set what is learned, give the decoder's weight and bias.

        Parameters
        ----------
        model : sklearn_vae.selection.linear.LinearModel
            Of the kind that `linear_model` names.

        Returns
        -------
        weight, bias : Tensor of shape (n_numbers, d) and (n_numbers,)
        """
        raise NotImplementedError

    # --- in training and after it -----------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        """What the encoder sees of x."""
        return x

    def forward(self, numbers: Tensor, z: Tensor | None = None) -> Distribution:
        """p(x | z), over the entries of rows of n_features.

        It may have a `log_prob_of_rows`, where the sum over entries is found for less.

        Parameters
        ----------
        numbers : Tensor of shape (..., n_numbers)
            The decoder's, for z.
        z : Tensor of shape (..., d), optional
            Needed where the noise grows with it.
        """
        raise NotImplementedError

    def draw(self, p: Distribution, rng: np.random.RandomState) -> np.ndarray:
        """Draws of p(x | z), one of each entry.

        It may draw from torch's generator, which is seeded and put back by the caller, or from
        `rng`.
        """
        return p.sample().cpu().numpy()

    def mean_over(self, p: Distribution, weights: Tensor) -> Tensor:
        """The mean of x, (n, n_features), under p(x | z_k) of weights (K, n) that add up to 1."""
        return torch.einsum("kn,knj->nj", weights, p.mean)

    @property
    def levels(self) -> np.ndarray:
        """How many columns each feature has in `one_hot`, (n_features,)."""
        return np.ones(self.n_features, dtype=int)

    def one_hot(self, x: Tensor) -> Tensor:
        """Rows as numbers (..., sum of `levels`), a category as indicators of its levels."""
        return x

    def one_hot_mean(self, p: Distribution) -> Tensor:
        """The mean of `one_hot` under p(x | z)."""
        return p.mean

    def one_hot_variance(self, p: Distribution) -> Tensor:
        """Its variance."""
        return p.variance

    def calibrate(self, evidence: NamedTuple) -> None:
        """Settle what held-out rows tell better than training: by default a learned noise.

        Parameters
        ----------
        evidence : sklearn_vae.selection.Evidence
        """
        if self.noise is not None:
            self.noise.calibrate(evidence)

    def learned(self) -> dict:
        """Fitted attributes by name, in X's units; arrays are of shape (n_features,)."""
        return {} if self.noise is None else self.noise.learned(self.scale)

    def has_no_upper_bound(self) -> bool:
        """Whether what was learned lets the density grow without bound."""
        return self.noise is not None and self.noise.is_gone()

    def neutral_factor(self) -> float:
        """By what training may divide the noise where only the reconstruction counts.

        An optimizer and a tolerance know no units, so the weights that a plain autoencoder finds
        would depend on those of x. What gives another factor has a `rescale_noise`.
        """
        return 1.0

    def rescale_noise(self, factor: float) -> Callable[[float], float]:
        """Multiply the variance of the noise by a factor.

        Returns
        -------
        callable
            It turns a mean loss under the noise before, of the same weights, into that after.
        """
        raise NotImplementedError

    def at_best_noise(self, nats: float) -> float:
        """A mean of -log p(x | z) over complete rows, as it would be at the noise that suits them.

        With a noise of variance sigma_j^2 and e the mean over rows of sum_j (x - mean)_j^2 /
        sigma_j^2 / D, the factor e on all variances gives the least,

            1/2 sum_j log(2 pi sigma_j^2) + D/2 (1 + log e).

        It is `nats` where the noise is not one that training finds.
        """
        return nats
