r"""The prior p(z): what the components are drawn from before anything is known of a row.

A prior answers four questions about z and about a posterior q of `posteriors.py`,

    kl_per_component(q)   KL_j of the chain rule over components, (n, d), in nats
    kl(q)                 their sum, KL(q(z | x) || p(z)), (n,)
    log_prob(z)           log p(z), (...)
    draw(n, rng)          z, (n, d)

and it follows the components when they are put in order (`permute`). The standard normal
distribution N(0, I) is the one that the estimators use. The closed forms of the KL from it belong
to the posterior's families (`posteriors.py`).
"""

import math
from typing import Any

import numpy as np
from torch import Tensor, nn


class Prior(nn.Module):
    """Base of the priors over z of dimension d.

    Parameters
    ----------
    n_components : int
        d.
    """

    def __init__(self, n_components: int):
        super().__init__()
        self.n_components = n_components

    def kl_per_component(self, q: Any) -> Tensor:
        """KL_j of the chain rule over components, of shape (n, d), in nats."""
        raise NotImplementedError

    def kl(self, q: Any) -> Tensor:
        """KL(q(z | x) || p(z)), of shape (n,), in nats."""
        return self.kl_per_component(q).sum(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z) in nats, of shape (...), for z of shape (..., d)."""
        raise NotImplementedError

    def draw(self, n: int, rng: np.random.RandomState) -> np.ndarray:
        """Draws of p(z), of shape (n, d)."""
        raise NotImplementedError

    def permute(self, order: np.ndarray, signs: np.ndarray) -> None:
        """Let component j be ``signs[j]`` times what component ``order[j]`` was."""
        raise NotImplementedError


class StandardNormal(Prior):
    """p(z) = N(0, I)."""

    def kl_per_component(self, q: Any) -> Tensor:
        return q.kl_per_component()

    def kl(self, q: Any) -> Tensor:
        return q.kl()

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square().sum(-1) + self.n_components * math.log(2 * math.pi))

    def draw(self, n: int, rng: np.random.RandomState) -> np.ndarray:
        return rng.standard_normal((n, self.n_components))

    def permute(self, order: np.ndarray, signs: np.ndarray) -> None:
        """All orders and signs are the same to it."""
