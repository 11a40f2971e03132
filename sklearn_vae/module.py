"""The module: encoder + posterior + decoder + likelihood + prior, and what comes out of them.

    q(z | x) = posterior(encoder(x));   z = mu + L eps;   p(x | z) = likelihood(decoder(z), z)

The module draws nothing itself: it is given the deviates eps, so it is a function of its arguments.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.distributions import Distribution

from .batch import Batch
from .posteriors import Posterior
from .priors import Prior, StandardNormal


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
    ):
        super().__init__()
        self.n_components = n_components
        self.posterior = posterior
        self.likelihood = likelihood()
        self.prior = prior(n_components)
        self.encoder = encoder(n_features, posterior.n_numbers(n_components))
        self.decoder = decoder(n_components, self.likelihood.n_numbers)
        self.width = max(len(weight) for weight in self.parameters() if weight.ndim)

    @property
    def is_linear(self) -> bool:
        """Whether both networks are linear maps, whatever is learned."""
        return self.encoder.is_linear and self.decoder.is_linear

    def encode(self, rows: Batch | Tensor) -> Posterior:
        """q(z | x) of rows; a tensor is x (n, n_features)."""
        x = Batch.of(rows).x
        numbers = self.encoder(self.likelihood.encode(x))
        # Mixed precision has made them narrower.
        return self.posterior(numbers.to(x.dtype), self.n_components)

    def decode(self, z: Tensor) -> Distribution:
        """p(x | z) for z of shape (..., d); the decoder itself sees two dimensions."""
        numbers = self.decoder(z.flatten(0, -2)).to(z.dtype)
        return self.likelihood(numbers if z.ndim == 2 else numbers.unflatten(0, z.shape[:-1]), z)

    def reconstruct(self, rows: Batch | Tensor) -> Tensor:
        """What the posterior mean of rows is decoded to, (n, n_features)."""
        return self.decode(self.encode(rows).mean).mean

    def forward(self, rows: Batch | Tensor, eps: Tensor) -> VAEOutput:
        """Everything an objective needs, for deviates eps.

        Their shape is (n_draws, n or 1, d) or (n or 1, d).
        """
        q = self.encode(rows)
        z = q.rsample(eps)
        return VAEOutput(q, z, self.decode(z), self.prior)
