"""The module: encoder + posterior + decoder + likelihood + prior, and what comes out of them.

    q(z | x) = posterior(encoder(x));   z = mu + L eps;   p(x | z) = likelihood(decoder(z), z)

The module draws nothing itself: it is given the deviates eps, so it is a function of its arguments.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .batch import Batch
from .posteriors import Posterior, Widened
from .priors import Prior, StandardNormal

ROUNDS = 50  # of filling missing values by what the model rebuilds


class VAEOutput(NamedTuple):
    """What flows from the module to an objective.

    Attributes
    ----------
    q : Posterior
        q(z | x), over (n, d).

    z : Tensor of shape (n_draws, n, d), or (n, d) for a single draw
        Draws of q.

    p : Distribution
        p(x | z), over entries: (n_draws, n, n_features), or (n, n_features) for a single draw.

    prior : Prior
        p(z).
    """

    q: Posterior
    z: Tensor
    p: Distribution
    prior: Prior


class MissingInformation(nn.Module):
    r"""What the posterior covariance gains where values are missing.

    In a linear model of loadings W and noise Psi it is S_o - S, with the covariances

        S_o = (I + W_o^T Psi_o^-1 W_o)^-1,   S = (I + W^T Psi^-1 W)^-1

    of z given the observed entries o and given all. It depends on o alone and is not negative. Here
    W and Psi are those of the linear start, and training learns a matrix T: T (S_o - S) T^T.
    """

    def __init__(self, owner: Tensor, n_components: int):
        super().__init__()
        # Psi^-1/2 W, and which feature each of its rows is of; 0 where no linear model is known.
        self.register_buffer("loadings", torch.zeros(len(owner), n_components))
        self.register_buffer("owner", owner)
        self.turn = nn.Parameter(torch.eye(n_components))

    @torch.no_grad()
    def start_linear(self, loadings: Tensor) -> None:
        """Make this the gain of a linear model with Psi^-1/2 W of shape (n_inputs, d)."""
        self.loadings.copy_(loadings)
        self.turn.copy_(torch.eye(len(self.turn)))

    @torch.no_grad()
    def permute(self, order: np.ndarray, signs: np.ndarray) -> None:
        """Let component j be ``signs[j]`` times what component ``order[j]`` was."""
        self.turn.copy_(torch.as_tensor(signs).to(self.turn)[:, None] * self.turn[order])

    def forward(self, observed: Tensor) -> Tensor:
        """The gain (n, d, d) for what was observed (n, n_features), in float64."""
        d, turn, loadings = len(self.turn), self.turn.double(), self.loadings.double()
        # In float64 from here on: rounded, their sum could be less than nothing.
        outer, unit = loadings[:, :, None] * loadings[:, None, :], torch.eye(d).to(loadings)
        is_there = observed.double()[:, self.owner]
        precision = (is_there @ outer.flatten(1)).reshape(-1, d, d) + unit
        inverse = torch.linalg.inv(torch.cat([precision, outer.sum(0, keepdim=True) + unit]))
        return turn @ (inverse[:-1] - inverse[-1:]) @ turn.T


class VAE(nn.Module):
    """A variational autoencoder.

    Parameters
    ----------
    n_features, n_components : int
        Dimensions of x and z.
    posterior : type[Posterior]
        The family of q(z | x).

    likelihood : callable
        ``f() -> Likelihood``, built for n_features.

    encoder, decoder : callable
        ``f(n_in, n_out) -> nn.Module``.
    prior : callable
        ``f(n_components) -> Prior``.
    sees_missing : bool
        Whether the encoder is told which values are missing.

    n_conditions : int
        How many numbers c are given with each row: the networks are then those of q(z | x, c) and
        p(x | z, c).

    Attributes
    ----------
    width : int
        The largest number of outputs of a layer.
    """

    def __init__(
        self,
        n_features: int,
        n_components: int,
        posterior: type[Posterior],
        likelihood: Callable,
        encoder: Callable,
        decoder: Callable,
        prior: Callable = StandardNormal,
        sees_missing: bool = False,
        n_conditions: int = 0,
    ):
        super().__init__()
        self.n_components = n_components
        self.posterior = posterior
        self.likelihood = likelihood()
        self.prior = prior(n_components)
        owner = torch.from_numpy(self.likelihood.owner)
        self.missing = MissingInformation(owner, n_components) if sees_missing else None
        n_inputs = self.likelihood.n_inputs + (n_features if sees_missing else 0) + n_conditions
        self.encoder = encoder(n_inputs, posterior.n_numbers(n_components))
        self.decoder = decoder(n_components + n_conditions, self.likelihood.n_numbers)
        widths = [len(weight) for weight in self.parameters() if weight.ndim]
        widths += [getattr(net, "width", 0) for net in (self.encoder, self.decoder)]
        self.width = max(widths)

    @property
    def sees_missing(self) -> bool:
        """Whether the encoder is told which values are missing."""
        return self.missing is not None

    @property
    def is_linear(self) -> bool:
        """Whether both networks are linear maps, whatever is learned."""
        return self.encoder.is_linear and self.decoder.is_linear

    def encoder_input(self, rows: Batch) -> Tensor:
        """What the encoder sees of rows."""
        x = self.likelihood.encode(rows.x)
        if self.sees_missing:
            is_missing = torch.zeros_like(rows.x) if rows.observed is None else 1 - rows.observed
            x = torch.cat([x, is_missing], -1)
        return x if rows.condition is None else torch.cat([x, rows.condition], -1)

    def encode(self, rows: Batch | Tensor) -> Posterior:
        """q(z | x) of rows; a tensor is x (n, n_features).

        Of a row of which nothing was observed it is N(0, I).
        """
        rows = Batch.of(rows)
        x, observed = self.encoder_input(rows), rows.observed
        if self.sees_missing and observed is None:
            observed = torch.ones_like(rows.x)
        # Mixed precision has made them narrower.
        numbers = self.encoder(x).to(x.dtype)
        if observed is None:
            return self.posterior(numbers, self.n_components)
        is_known = observed.any(-1, keepdim=True)
        q = self.posterior(numbers * is_known, self.n_components)
        return Widened(q, self.missing(observed) * is_known[..., None]) if self.missing else q

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Distribution:
        """p(x | z, c) for z of shape (..., n, d) and what is given with each row, c of (n, n_c).

        The decoder itself sees two dimensions.
        """
        inputs = z
        if condition is not None:
            inputs = torch.cat([z, condition.expand(*z.shape[:-1], -1)], -1)
        numbers = self.decoder(inputs.flatten(0, -2)).to(z.dtype)
        return self.likelihood(numbers if z.ndim == 2 else numbers.unflatten(0, z.shape[:-1]), z)

    def reconstruct(self, rows: Batch | Tensor) -> Tensor:
        """What the posterior mean of rows is decoded to, (n, n_features)."""
        rows = Batch.of(rows)
        return self.decode(self.encode(rows).mean, rows.condition).mean

    def completed(self, rows: Batch) -> Batch:
        """Rows whose missing values are what the model itself rebuilds there.

        For a model that was fitted to complete rows. x_m <- E[x_m | z] at the posterior mean, again
        and again (Rezende et al. 2014, appendix F). In a linear model that ends at E[x_m | x_o].
        """
        for _ in range(ROUNDS):
            x = torch.where(rows.observed > 0, rows.x, self.reconstruct(rows))
            rows = replace(rows, x=x)
        return rows

    def forward(self, rows: Batch | Tensor, eps: Tensor) -> VAEOutput:
        """Everything an objective needs, for deviates eps.

        Their shape is (n_draws, n or 1, d) or (n or 1, d).
        """
        rows = Batch.of(rows)
        q = self.encode(rows)
        z = q.rsample(eps)
        return VAEOutput(q, z, self.decode(z, rows.condition), self.prior)
