r"""The approximate posterior: q(z | x) = N(mu, L L^T), one family per shape of the factor L.

A family states four things about its lower-triangular factor L and inherits the rest:

    color(eps)      L eps          standard normal deviates to deviates of covariance L L^T
    whiten(v)       L^-1 v         the inverse
    variance        diag(L L^T)    so ||L||_F^2 is its sum over j
    log_pivots      log L_jj^2     so log|L| is half its sum over j

With the prior p(z) = N(0, I) every family then has, in nats,

    z = mu + L eps
    log q(z | x) = -1/2 ||L^-1 (z - mu)||^2 - log|L| - d/2 log 2 pi
    KL(q || p)   = 1/2 (||mu||^2 + ||L||_F^2 - d) - log|L|

and, since L is triangular, the exact chain rule over components,

    KL_j = 1/2 (mu_j^2 + (L L^T)_jj - log L_jj^2 - 1),      KL = sum_j KL_j,      KL_j >= 0.

The encoder gives a posterior its numbers: first mu, then whatever shapes L. A log-variance v that
is positive becomes 5 (1 - exp(-v / 5)), which is below 5. No x tells less of z than nothing, and
that is v = 0. An encoder that extrapolates far beyond its training data may say e^v = 10^13, at as
many nats. A negative v stays as it is, down to -30.

In every shape below ``n`` is the number of samples, ``d`` of components; leading dimensions
(the draws) broadcast.
"""

import math

import numpy as np
import torch
from scipy.linalg import toeplitz
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import celu, softplus

NARROWEST, WIDEST = -30.0, 5.0  # log-variances
HALF = torch.tensor(0.5)  # a number of Python would be made a tensor at each use


def log_variance_from(number: Tensor) -> Tensor:
    """The log-variance that an encoder means by a number.

    Itself below 0, down to -30; smoothly below 5 above.
    """
    return -celu(-number.clamp(min=NARROWEST), WIDEST)


def number_for(log_variance: Tensor) -> Tensor:
    """The number by which an encoder means a log-variance."""
    wide = log_variance.clamp(0, 0.999 * WIDEST)
    return log_variance.clamp(NARROWEST, 0) - WIDEST * torch.log1p(-wide / WIDEST)


class Posterior:
    """Base of the families: sampling, density, KL and entropy of N(mu, L L^T).

    Parameters
    ----------
    numbers : Tensor of shape (n, n_numbers(d))
        What the encoder says of each sample.
    n_components : int
        d, the dimension of z.
    """

    def __init__(self, numbers: Tensor, n_components: int):
        sizes = n_components, self.n_variances(n_components), self.n_others(n_components)
        self.mean, of_variances, others = torch.split_with_sizes(numbers, sizes, -1)
        self.log_variance = log_variance_from(of_variances)
        self.scale = torch.exp(self.log_variance * HALF)
        self.read(others)

    @staticmethod
    def n_variances(n_components: int) -> int:
        """How many variances there are: d, or 1 for all components."""
        return n_components

    @staticmethod
    def n_others(n_components: int) -> int:
        """How many numbers shape L beside the variances."""
        return 0

    @classmethod
    def n_numbers(cls, n_components: int) -> int:
        """How many numbers the encoder gives for each sample: mu, log-variances, others."""
        return n_components + cls.n_variances(n_components) + cls.n_others(n_components)

    @classmethod
    def log_variances(cls, n_components: int) -> slice:
        """Which of the encoder's numbers are log-variances."""
        return slice(n_components, n_components + cls.n_variances(n_components))

    def read(self, others: Tensor) -> None:
        """Take the numbers (n, n_others(d)) that follow the log-variances.

        It is called once, when ``mean``, ``log_variance`` and ``scale`` are set.
        """

    def color(self, eps: Tensor) -> Tensor:
        """L eps, of shape (..., n, d)."""
        raise NotImplementedError

    def whiten(self, v: Tensor) -> Tensor:
        """L^-1 v, of shape (..., n, d)."""
        raise NotImplementedError

    @property
    def variance(self) -> Tensor:
        """diag(L L^T), of a shape that broadcasts to (n, d)."""
        return self.scale.square()

    @property
    def log_pivots(self) -> Tensor:
        """Log L_jj^2, the pivots of L L^T, of a shape that broadcasts to (n, d)."""
        return self.log_variance

    def own_form(self) -> dict[str, Tensor]:
        """L L^T in the family's own numbers."""
        return {"variance": self.variance}

    @classmethod
    def closest_to(cls, eigenvalues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The basis and the numbers in which this family comes closest to a given covariance.

        p(x) does not change when z is rotated, so the model may choose the basis in which its
        posterior covariance, of these eigenvalues v_j, is best expressed by the family. By default
        that is the basis of the eigenvectors: with a variance per component they are v_j, with one
        for all d / sum_j (1 / v_j), and whatever else shapes L is 0.

        Parameters
        ----------
        eigenvalues : ndarray of shape (d,)
            Of the covariance to be met.

        Returns
        -------
        basis : ndarray of shape (d, d)
            Orthogonal Q: the covariance is Q diag(eigenvalues) Q^T there.
        numbers : ndarray of shape (n_numbers(d) - d,)
            What the encoder has to say after mu.
        """
        d = len(eigenvalues)
        variances = eigenvalues if cls.n_variances(d) == d else [1 / np.mean(1 / eigenvalues)]
        numbers = number_for(torch.log(torch.as_tensor(variances))).numpy()
        return np.eye(d), np.append(numbers, np.zeros(cls.n_others(d)))

    @classmethod
    def order(cls, explained: np.ndarray) -> np.ndarray:
        """The order that the family lets components take: those that explain most first, if it may.

        Parameters
        ----------
        explained : ndarray of shape (d,)
            The share of variance that each component explains.
        """
        return np.argsort(-explained, kind="stable")

    @classmethod
    def signs(cls, signs: np.ndarray) -> np.ndarray:
        """The signs (d,) that the family lets components take, as near as may be to `signs`."""
        return signs

    @classmethod
    def permuted(cls, order: np.ndarray, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of the encoder's numbers, times which factor, are those of the components permuted.

        Component j becomes ``signs[j]`` times component ``order[j]``.

        Returns
        -------
        index : ndarray of shape (n_numbers(d),)
        factors : ndarray of shape (n_numbers(d),)
        """
        d = len(order)
        variances = order if cls.n_variances(d) == d else np.arange(cls.n_variances(d))
        others = np.arange(cls.n_others(d))
        index = np.concatenate([order, d + variances, d + len(variances) + others])
        return index, np.concatenate([signs, np.ones(len(index) - d)])

    def rsample(self, eps: Tensor) -> Tensor:
        """Mu + L eps: draws that carry gradients.

        This is the reparameterisation of Kingma & Welling 2014.
        """
        return self.mean + self.color(eps.expand(*eps.shape[:-2], *self.mean.shape))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log q(z | x) in nats, of shape (..., n)."""
        d = self.mean.shape[-1]
        squares = self.whiten(z - self.mean).square().sum(-1)
        return -0.5 * (squares + d * math.log(2 * math.pi)) - self._log_det()

    def kl_per_component(self) -> Tensor:
        """KL_j of the chain rule in nats, of shape (n, d)."""
        less_mean = self.variance - self.log_pivots
        return torch.addcmul(less_mean, self.mean, self.mean).mul(HALF).sub(HALF)

    def kl(self) -> Tensor:
        """KL(q || N(0, I)) in nats, of shape (n,)."""
        return self.kl_per_component().sum(-1)

    def entropy(self) -> Tensor:
        """-E[log q] in nats, of shape (n,): d/2 (1 + log 2 pi) + log|L|."""
        d = self.mean.shape[-1]
        return 0.5 * d * (1 + math.log(2 * math.pi)) + self._log_det()

    def covariance(self) -> Tensor:
        """L L^T in full, of shape (n, d, d)."""
        n, d = self.mean.shape
        unit = torch.eye(d, dtype=self.mean.dtype, device=self.mean.device)
        factor = self.color(unit[:, None, :].expand(d, n, d)).permute(1, 2, 0)
        return factor @ factor.mT

    def _log_det(self) -> Tensor:
        return 0.5 * self.log_pivots.expand_as(self.mean).sum(-1)


class Diagonal(Posterior):
    """L = diag(sigma): components independent given x (Kingma & Welling 2014).

    The encoder's numbers: mu (d), log sigma^2 (d).
    """

    def color(self, eps: Tensor) -> Tensor:
        return self.scale * eps

    def whiten(self, v: Tensor) -> Tensor:
        return v / self.scale


class Spherical(Diagonal):
    """L = sqrt(s) I: one variance for all components.

    The encoder's numbers: mu (d), log s. Closest to eigenvalues v_j at s = d / sum_j (1 / v_j), in
    any basis.
    """

    @staticmethod
    def n_variances(n_components: int) -> int:
        return 1


class Full(Posterior):
    """L lower triangular: any covariance.

    The encoder's numbers: mu (d), log L_jj^2 (d), the d (d - 1) / 2 entries below the diagonal, row
    by row.
    """

    @staticmethod
    def n_others(n_components: int) -> int:
        return n_components * (n_components - 1) // 2

    def read(self, others: Tensor) -> None:
        d = self.mean.shape[-1]
        rows, columns = torch.tril_indices(d, d, offset=-1, device=others.device)
        lower = others.new_zeros(*others.shape[:-1], d, d)
        lower[..., rows, columns] = others
        self.factor = lower + torch.diag_embed(self.scale)

    def color(self, eps: Tensor) -> Tensor:
        return torch.einsum("nij,...nj->...ni", self.factor, eps)

    def whiten(self, v: Tensor) -> Tensor:
        draws = v.reshape(-1, *self.mean.shape).permute(1, 2, 0)
        return (
            torch.linalg.solve_triangular(self.factor, draws, upper=False)
            .permute(2, 0, 1)
            .reshape(v.shape)
        )

    @classmethod
    def order(cls, explained: np.ndarray) -> np.ndarray:
        """As it is, since L is triangular in this order."""
        return np.arange(len(explained))

    @classmethod
    def permuted(cls, order: np.ndarray, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        index, factors = super().permuted(order, signs)
        rows, columns = np.tril_indices(len(signs), -1)
        factors[len(index) - len(rows) :] = signs[rows] * signs[columns]
        return index, factors

    @property
    def variance(self) -> Tensor:
        return self.factor.square().sum(-1)

    def own_form(self) -> dict[str, Tensor]:
        return {"factor": self.factor}


class Widened(Full):
    """A posterior of any family whose covariance is widened by a matrix for each row.

    Parameters
    ----------
    q : Posterior
        N(mu, L L^T).
    by : Tensor of shape (n, d, d)
        What is added to L L^T; not negative.
    """

    def __init__(self, q: Posterior, by: Tensor):
        # In float64, since rounding in float32 could make the sum singular.
        factor, failed = torch.linalg.cholesky_ex(q.covariance().double() + by)
        factor = factor.masked_fill((failed > 0)[:, None, None], torch.nan)
        self.mean, self.factor = q.mean, factor.to(q.mean.dtype)
        self.scale = self.factor.diagonal(dim1=-2, dim2=-1)
        self.log_variance = 2 * self.scale.log()


class ScaledAR1(Posterior):
    r"""L = diag(sigma) C(rho): an autoregression over the components, each with its own variance.

    .. math:: (L L^\top)_{ij} = \sigma_i \sigma_j \rho^{|i - j|}

    The encoder's numbers are mu (d), log sigma^2 (d) and r, with rho = tanh r.

    C eps is the recursion u_1 = eps_1, u_j = rho u_{j-1} + sqrt(1 - rho^2) eps_j. Unrolled, u is
    the sum of rho^k times the innovations shifted by k. Adding a copy of the sum, shifted by its
    number of terms, doubles that number. So ceil(log2 d) steps are exact, with no loop over d. The
    rows of C have unit length, so diag(L L^T) = sigma^2.

    1 - rho^2 is never formed. Its logarithm is finite for every r, and with it

    .. math::

       \log(1 - \tanh^2 r) &= 2 (\log 2 - |r| - \log(1 + e^{-2|r|})) \\
       \log |L| &= \tfrac12 \sum_j \log \sigma_j^2 + \tfrac{d - 1}{2} \log(1 - \rho^2) .
    """

    @staticmethod
    def n_others(n_components: int) -> int:
        return 1

    @classmethod
    def order(cls, explained: np.ndarray) -> np.ndarray:
        """As it is or reversed, since only neighbours may stay neighbours.

        The half that explains more comes first.
        """
        order = np.arange(len(explained))
        return order if (explained * (order - order.mean())).sum() <= 0 else order[::-1].copy()

    @classmethod
    def signs(cls, signs: np.ndarray) -> np.ndarray:
        """All alike, the first as asked for.

        Two neighbours of unlike signs would turn the sign of rho.
        """
        return np.full_like(signs, signs[0])

    def read(self, others: Tensor) -> None:
        self.rho = torch.tanh(others)
        self.log_innovation = (
            math.log(2) - others.abs() - softplus(-2 * others.abs())
        )  # log sqrt(1 - rho^2)

    def color(self, eps: Tensor) -> Tensor:
        u = torch.cat([eps[..., :1], torch.exp(self.log_innovation) * eps[..., 1:]], -1)
        step, weight = 1, self.rho
        while step < u.shape[-1]:
            u = torch.cat([u[..., :step], u[..., step:] + weight * u[..., :-step]], -1)
            step, weight = 2 * step, weight.square()
        return self.scale * u

    def whiten(self, v: Tensor) -> Tensor:
        u = v / self.scale
        innovations = (u[..., 1:] - self.rho * u[..., :-1]) * torch.exp(-self.log_innovation)
        return torch.cat([u[..., :1], innovations], -1)

    @property
    def log_pivots(self) -> Tensor:
        log_variance = self.log_variance.expand_as(self.mean)
        return torch.cat(
            [log_variance[..., :1], log_variance[..., 1:] + 2 * self.log_innovation], -1
        )

    def own_form(self) -> dict[str, Tensor]:
        return {"variance": self.variance, "rho": self.rho}


class AR1(ScaledAR1):
    r"""L = sqrt(s) C(rho): a stationary first-order autoregression over the components.

    L L^T = s R with R_ij = rho^|i - j|, of two scalars (Ferdowsi et al. 2019, arXiv:1909.06236).
    The encoder's numbers: mu (d), log s, r; rho = tanh r. C(rho) is that of `ScaledAR1`, and

        KL = 1/2 (||mu||^2 + d (s - 1) - d log s - (d - 1) log(1 - rho^2)).

    Two scalars can be enough, since the basis of z is free. In the right basis, s R has to match
    only the eigenvalues v_j of the covariance. With t_j those of R, in the same order, the gap in
    nats is 1/2 sum_j (s t_j / v_j - 1 - log(s t_j / v_j)). It is least at
    s = d / sum_j (t_j / v_j), and vanishes for d <= 2.
    """

    @staticmethod
    def n_variances(n_components: int) -> int:
        return 1

    @staticmethod
    def closest_to(eigenvalues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d, order = len(eigenvalues), np.argsort(eigenvalues)
        v = eigenvalues[order]

        def correlation(r: float) -> np.ndarray:
            return toeplitz(np.tanh(r) ** np.arange(d))

        def gap(r: float) -> float:
            ratio = np.linalg.eigvalsh(correlation(r)) / v
            return np.log(ratio.mean()) - np.log(ratio).mean()

        r = minimize_scalar(gap, bounds=(0, 6), method="bounded").x if d > 1 else 0.0
        t, vectors = np.linalg.eigh(correlation(r))
        s = torch.tensor([1 / np.mean(t / v)])
        return vectors[:, np.argsort(order)], np.append(number_for(torch.log(s)).numpy(), r)


POSTERIORS = {
    "spherical": Spherical,
    "diag": Diagonal,
    "full": Full,
    "ar1": AR1,
    "scaled_ar1": ScaledAR1,
}
