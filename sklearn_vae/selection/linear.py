r"""The linear start: weights at which the autoencoder is a linear model, before training bends it.

With Gaussian noise a VAE contains the linear-Gaussian model

    z ~ N(0, I),   x = W z + b + noise,   noise ~ N(0, Psi)

which is probabilistic PCA for Psi = sigma^2 I (Tipping & Bishop 1999) and factor analysis for a
diagonal Psi. Its posterior is exact and linear in x:

    z | x ~ N(A (x - b), S),   S = (I + W^T Psi^-1 W)^-1,   A = S W^T Psi^-1.

scikit-learn finds W and Psi of maximum likelihood. p(x) does not change when W is rotated to W R,
and S becomes R^T S R. With S = U diag(v) U^T the rotation R = U Q^T makes it Q diag(v) Q^T. Q is
the basis in which the posterior's family comes closest to it (`Posterior.closest_to`). The encoder
then starts at mu = A (x - b) and the family's numbers, the decoder at W R z + b, the noise at Psi.

Where the spectrum is flat, as on a curved surface, that model has no signal: W is about 0. Training
does not leave it, since every small step away from it costs more KL than it gains in
reconstruction. `sharp_model` is a second start: PCA's directions with a tenth of its noise. With
that noise held fixed a component costs less than it gains, so the networks bend to the surface
first. `refit_noise` then gives the noise its maximum-likelihood value, the mean squared error
over the held-out rows. Training goes on as usual. The bound on the held-out rows decides which of
the two starts wins.

With as many components as features, W W^T can be the whole covariance. The likelihood is then the
same for every Psi = sigma^2 I up to the smallest eigenvalue. A tenth of that eigenvalue is taken,
which rebuilds 0.99 of the variance of the features. Less would rebuild them more closely, but
networks bend no more where the noise is small.

Counts have a linear model as well (`count_model`), of the logarithms of their means m:

    z ~ N(0, I),   log m = W z + b + N(0, A),   x ~ Poisson(m).

Its covariance C of x and that of log m are tied by the moments of the log-normal distribution,

    (W W^T + A)_jk = log(1 + (C_jk - delta_jk m_j) / (m_j m_k)),

(Aitchison & Ho 1989), so W follows from the covariance of x, as the principal factors of this
matrix. The encoder sees y = log(1 + x). By the delta method its noise given z has the variance
Psi = A + 1 / m. In units of the variance of y the noise of n independent rows has eigenvalues up to
(1 + sqrt(D / n))^2 - 1 (Marchenko & Pastur 1967). No direction below that is taken for signal.
What is left on the diagonal, A, is the dispersion of the negative binomial.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA, FactorAnalysis
from torch import Tensor

from ..batch import Batch
from ..likelihoods import SMALLEST_NOISE
from ..module import VAE
from .moments import Moments

SHARPNESS = 0.1  # of PCA's noise: with less a surface is lost when the noise is learned
NEXT_TO_NONE = 1e-3  # of it, for a projection
EXACT = 0.1  # of the smallest eigenvalue, where there are as many components as features
MOST_REPEATED = 100_000  # rows
LEAST_DISPERSION = 1e-2  # of the variance of a Poisson count


class LinearModel(NamedTuple):
    """y = W z + b + noise, where y is what the encoder sees of x.

    Attributes
    ----------
    loadings : ndarray of shape (n_features, d)
        W.
    mean : ndarray of shape (n_features,)
        b.
    noise_variance : ndarray of shape (n_features,)
        diag Psi.

    offset : ndarray of shape (n_features,) or None
        What the decoder adds to W z, if it is not b. For counts, W z + `offset` is the logarithm of
        their mean.

    dispersion : ndarray of shape (n_features,) or None
        Of counts: the variance is mean + dispersion mean^2.
    """

    loadings: np.ndarray
    mean: np.ndarray
    noise_variance: np.ndarray
    offset: np.ndarray | None = None
    dispersion: np.ndarray | None = None


class Weighted(NamedTuple):
    """Rows x (n, n_features) and how much each counts, (n,)."""

    x: np.ndarray
    weight: np.ndarray

    def rows_alike(self, ddof: int = 0) -> np.ndarray:
        """Rows of the same mean and covariance, with `ddof` fewer degrees of freedom.

        If weights are integers, and not many, each row as often as its weight says.
        """
        total, n = self.weight.sum(), len(self.x)
        if (self.weight == np.round(self.weight)).all() and total <= MOST_REPEATED:
            return np.repeat(self.x, self.weight.astype(int), axis=0)
        mean = self.weight @ self.x / total
        share = self.weight / total * n / (n - ddof) * (2 * n - ddof) / 2
        away = np.sqrt(share)[:, None] * (self.x - mean)
        return mean + np.vstack([away, -away])


def plainly_fitted(model: BaseEstimator, X: np.ndarray) -> BaseEstimator:
    """`model` fitted to X by its plain `fit`.

    Loggers that wrap the public one would count it as the user's own.
    """
    return inspect.unwrap(type(model).fit)(model, X)


def probabilistic_pca(
    X: np.ndarray, n_components: int, seed: int, _: np.ndarray | None = None
) -> LinearModel:
    """Maximum likelihood for one noise variance: W = U (Lambda - sigma^2)^1/2."""
    return _of_pca(plainly_fitted(PCA(n_components, random_state=seed), X), sharpness=1)


def _of_pca(pca: PCA, sharpness: float) -> LinearModel:
    d, D = pca.components_.shape
    noise = EXACT * pca.explained_variance_[-1] if d == D else sharpness * pca.noise_variance_
    noise = max(noise, SMALLEST_NOISE)
    signal = np.sqrt(np.maximum(pca.explained_variance_ - noise, 0))
    return LinearModel(pca.components_.T * signal, pca.mean_, np.full(D, noise))


def factor_analysis(
    X: np.ndarray, n_components: int, seed: int, _: np.ndarray | None = None
) -> LinearModel:
    """Maximum likelihood for one noise variance per feature."""
    if n_components == X.shape[1]:
        return probabilistic_pca(X, n_components, seed)
    fa = plainly_fitted(FactorAnalysis(n_components, random_state=seed), X)
    return LinearModel(fa.components_.T, fa.mean_, np.maximum(fa.noise_variance_, SMALLEST_NOISE))


def known_noise(
    X: np.ndarray, n_components: int, seed: int, noise_variance: np.ndarray
) -> LinearModel:
    """Maximum likelihood for given noise variances: pPCA of X / sigma with noise 1."""
    sigma = np.sqrt(noise_variance)
    pca = plainly_fitted(PCA(n_components, random_state=seed), X / sigma)
    signal = np.sqrt(np.maximum(pca.explained_variance_ - 1, 0))
    return LinearModel(
        sigma[:, None] * pca.components_.T * signal, sigma * pca.mean_, noise_variance
    )


def correlation_pca(X: np.ndarray, n_components: int, seed: int, _=None) -> LinearModel:
    """Probabilistic PCA of columns that were divided by their standard deviations.

    For columns of several kinds, with an indicator for each level of a category.
    """
    sigma = np.maximum(X.std(axis=0), SMALLEST_NOISE**0.5)
    model = probabilistic_pca(X / sigma, n_components, seed)
    W, b, psi = model.loadings, model.mean, model.noise_variance
    return LinearModel(sigma[:, None] * W, sigma * b, sigma**2 * psi)


def linear_model(
    name: str,
    X: np.ndarray | Moments,
    n_components: int,
    seed: int,
    noise_variance: np.ndarray | None = None,
) -> LinearModel:
    """The maximum-likelihood linear model of X.

    Parameters
    ----------
    name : str
        In `LINEAR_MODELS`.
    X : ndarray of shape (n_samples, n_features) or Moments
    n_components : int
        d. If the data do not carry as many components, the last loadings are 0.

    seed : int
        For the randomised solvers.
    noise_variance : ndarray of shape (n_features,), optional
        The fixed values of "known_noise".

    Returns
    -------
    LinearModel
    """
    return LINEAR_MODELS[name](X, n_components, seed, noise_variance)


def _gaussian(solve: Callable, ddof: int = 1) -> Callable:
    """A linear model of rows, or of rows alike where only their moments are known.

    Or where they have weights; PCA's variances have a degree of freedom less.
    """

    def model(
        X: np.ndarray | Moments | Weighted,
        n_components: int,
        seed: int,
        noise_variance: np.ndarray | None = None,
    ) -> LinearModel:
        if isinstance(X, Moments):
            X = X.rows_alike()
        elif isinstance(X, Weighted):
            X = X.rows_alike(ddof)
        rank = _rank(X, n_components)
        if rank >= 1:
            return _padded(solve(X, rank, seed, noise_variance), n_components)
        noise = np.maximum(X.var(0), SMALLEST_NOISE)
        return _padded(LinearModel(np.zeros((X.shape[1], 0)), X.mean(0), noise), n_components)

    return model


def sharp_model(
    X: np.ndarray | Moments, n_components: int, seed: int, sharpness: float = SHARPNESS
) -> LinearModel:
    """PCA's directions with a share of its noise.

    Parameters and result are as for `linear_model`.
    """

    def solve(
        X: np.ndarray, rank: int, seed: int, noise_variance: np.ndarray | None
    ) -> LinearModel:
        return _of_pca(plainly_fitted(PCA(rank, random_state=seed), X), sharpness)

    return _gaussian(solve)(X, n_components, seed)


def projection(
    X: np.ndarray, n_components: int, noise_variance: np.ndarray, seed: int
) -> LinearModel:
    """PCA's projection: the linear model of next to no noise.

    Errors are weighed by fixed noise variances. Parameters and result as for `linear_model`; the
    noise is a multiple of the one that is given.
    """
    sigma = np.sqrt(noise_variance)
    sharp = sharp_model(X / sigma, n_components, seed, NEXT_TO_NONE)
    W, b, psi = sharp.loadings, sharp.mean, sharp.noise_variance
    return LinearModel(sigma[:, None] * W, sigma * b, noise_variance * psi)


def mean_model(X: np.ndarray | Moments, n_components: int, *_: Any) -> LinearModel:
    """No more than the mean of each feature: loadings of 0."""
    if isinstance(X, Weighted):
        X = Moments.of(*X)
    mean = X.mean if isinstance(X, Moments) else X.mean(axis=0)
    return _padded(LinearModel(np.zeros((len(mean), 0)), mean, np.ones(len(mean))), n_components)


def count_model(moments: np.ndarray | Moments, n_components: int, *_: Any) -> LinearModel:
    """The linear model of the logarithms of the means of counts.

    Parameters
    ----------
    moments : Moments or ndarray of shape (n_samples, n_features)
        Of the counts, or the counts.
    n_components : int

    Returns
    -------
    LinearModel
        Of y = log(1 + x), with `offset` and `dispersion`.
    """
    if not isinstance(moments, Moments):
        moments = Moments.of(*moments) if isinstance(moments, Weighted) else Moments.of(moments)
    n, D = moments.n, len(moments.mean)
    mean = np.maximum(moments.mean, 0.5 / n)
    excess = (moments.covariance - np.diag(mean)) / np.outer(mean, mean)
    covariance = np.log1p(np.maximum(excess, -0.9))
    sigma = np.sqrt(np.maximum(np.diag(covariance), 0) + 1 / mean)
    largest = (1 + np.sqrt(D / n)) ** 2 - 1
    W = sigma[:, None] * principal_factors(
        covariance / np.outer(sigma, sigma), min(n_components, D), largest
    )
    explained = (W**2).sum(axis=1)
    unexplained = np.maximum(np.diag(covariance) - explained, 0)
    model = LinearModel(
        W,
        moments.mean_log,
        unexplained + 1 / mean,
        offset=np.log(mean) - explained / 2,
        dispersion=np.maximum(np.expm1(unexplained), LEAST_DISPERSION / mean),
    )
    return _padded(model, n_components)


def principal_factors(correlation: np.ndarray, n_factors: int, of_noise: float) -> np.ndarray:
    """Loadings L (D, n_factors) that rebuild a matrix (D, D) by L L^T but for its diagonal.

    Principal axes with communalities found in turn (Harman 1976, chapter 8). There are no more of
    them than eigenvalues above `of_noise` without the diagonal; the last loadings are 0.
    """
    D, most = len(correlation), np.maximum(np.diag(correlation), 0)
    off = correlation - np.diag(np.diag(correlation))
    loadings, communality = (
        np.zeros((D, n_factors)),
        np.minimum(np.abs(off).max(axis=0, initial=0), most),
    )
    n_signals = min(n_factors, np.sum(eigh(off, eigvals_only=True) > of_noise))
    for _ in range(50 if D <= 200 else 10):
        if n_signals:
            values, vectors = eigh(
                off + np.diag(communality), subset_by_index=[D - n_signals, D - 1]
            )
            loadings[:, :n_signals] = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
        communality = np.minimum((loadings**2).sum(axis=1), most)
    return loadings


def _rank(X: np.ndarray, n_components: int) -> int:
    """How many loadings the data can carry."""
    n, D = X.shape
    return min(n_components, D, n - 1) if np.ptp(X, axis=0).any() else 0


def _padded(model: LinearModel, n_components: int) -> LinearModel:
    padding = np.zeros((len(model.mean), n_components - model.loadings.shape[1]))
    return model._replace(loadings=np.hstack([model.loadings, padding]))


LINEAR_MODELS = {
    "correlation_pca": _gaussian(correlation_pca),
    "factor_analysis": _gaussian(factor_analysis, ddof=0),
    "known_noise": _gaussian(known_noise),
    "log_linear": count_model,
    "mean": mean_model,
    "probabilistic_pca": _gaussian(probabilistic_pca),
}


def start_at(module: VAE, model: LinearModel) -> None:
    """Make `module`, of two networks with a linear path, the linear model.

    Parameters
    ----------
    module : sklearn_vae.module.VAE
    model : LinearModel
    """
    W, b, psi, offset, _ = model
    values, vectors = np.linalg.eigh(np.eye(W.shape[1]) + W.T @ (W / psi[:, None]))
    # The components that tell most come first.
    values, vectors = values[::-1], vectors[:, ::-1]
    # Their signs are free, and rounding would decide; scikit-learn's W already has signs of its
    # own.
    vectors = vectors * np.where(vectors.sum(0) < 0, -1, 1)
    basis, numbers = module.posterior.closest_to(1 / values)
    W = W @ vectors @ basis.T
    A = basis @ np.diag(1 / values) @ basis.T @ (W / psi[:, None]).T
    weight = np.vstack([A, np.zeros((len(numbers), len(b)))])
    if module.sees_missing:
        module.missing.start_linear(_float32(W / np.sqrt(psi)[:, None]))
    module.encoder.start_linear(_float32(weight), _float32(np.append(-A @ b, numbers)))
    offset = b if offset is None else offset
    module.decoder.start_linear(*module.likelihood.start(model._replace(loadings=W, offset=offset)))


def do_rows_tell_the_noise(x: Batch, n_features: int) -> bool:
    """Whether the rows x that a linear model is fitted to tell its noise as well.

    They do not where there are no more rows than features: the model then leaves next to no error.
    """
    return n_features < len(x)


def mean_squares(module: VAE, rows: Batch) -> Tensor:
    """The mean squared error of each feature (n_features,), over the rows that have it."""
    squares = (rows.x - module.reconstruct(rows)).square()
    if rows.observed is None:
        return rows.mean(squares)
    return rows.mean(squares * rows.observed) / rows.mean(rows.observed).clamp(min=1 / len(rows))


@torch.no_grad()
def raise_noise_to(module: VAE, reference: VAE, rows: Batch) -> None:
    """Raise a learned noise to the mean squared errors of `reference`, where they are larger.

    As `refit_noise`, for the start of a stream, where few rows may have been seen.
    """
    noise = module.likelihood.noise
    if noise is None or not noise.is_learned:
        return
    error, before = mean_squares(reference, rows), noise.variance
    raised = torch.maximum(before, error if before.ndim else error.mean())
    noise.set(raised)
    _widen_posterior(module, torch.log(raised / before).mean())


@torch.no_grad()
def refit_noise(module: VAE, reference: VAE, rows: Batch) -> None:
    """Multiply the noise by the factor of maximum likelihood on rows.

    With noise variances psi_j and mean squared errors e_j it is the mean of e_j / psi_j: one number
    for all features, since a few rows would else decide on many. The posterior variance is scaled
    by the same factor. The errors are those of `reference`, which is the module itself or one that
    was not trained on the rows.
    """
    error, noise = mean_squares(reference, rows), module.likelihood.noise.variance
    give_noise(module, (noise * (error / noise).mean()).clamp(min=SMALLEST_NOISE).expand_as(error))


@torch.no_grad()
def give_noise(module: VAE, variance: Tensor) -> None:
    """Set a learned noise, and scale the posterior variance by the same factor."""
    noise = module.likelihood.noise
    before = noise.variance.mean()
    noise.set(variance)
    _widen_posterior(module, torch.log(noise.variance.mean() / before))


def _widen_posterior(module: VAE, by: Tensor) -> None:
    """Add to all log-variances that the encoder gives."""
    module.encoder.linear.bias[module.posterior.log_variances(module.n_components)] += by


def _float32(array: np.ndarray) -> Tensor:
    return torch.as_tensor(array, dtype=torch.float32)
