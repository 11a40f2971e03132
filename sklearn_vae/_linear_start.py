r"""The linear start: weights at which the autoencoder is a linear model, before training bends it.

With Gaussian noise a VAE contains the linear-Gaussian model

    z ~ N(0, I),   x = W z + b + noise,   noise ~ N(0, Psi)

which is probabilistic PCA for Psi = sigma^2 I (Tipping & Bishop 1999) and factor analysis for a
diagonal Psi. Its posterior is exact and linear in x:

    z | x ~ N(A (x - b), S),   S = (I + W^T Psi^-1 W)^-1,   A = S W^T Psi^-1.

scikit-learn finds W and Psi of maximum likelihood. p(x) stays what it is when W is rotated to W R,
and S becomes R^T S R: with S = U diag(v) U^T the rotation R = U Q^T makes it Q diag(v) Q^T, where Q
is the basis in which the posterior's family comes closest to it (`Posterior.closest_to`). The
encoder then starts at mu = A (x - b) and the family's numbers, the decoder at W R z + b, the noise
at Psi.

Where the spectrum is flat, as on a curved surface, that model has no signal: W is about 0, and
training does not leave it, since every small step away from it costs more KL than it gains in
reconstruction. `sharp_model` is the way round: PCA's directions with a thousandth of its noise.
Trained with that noise held fixed the KL hardly counts, so the networks bend to the surface first;
`release_noise` then gives the noise its maximum-likelihood value, the mean squared error over rows
held out, and training goes on as usual. Which of the two starts wins is decided by the bound on those
rows.
"""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA, FactorAnalysis

SMALLEST_NOISE = 1e-12  # that of scikit-learn's FactorAnalysis
SHARPNESS = 1e-3


class LinearModel(NamedTuple):
    """x = W z + b + noise.

    Attributes
    ----------
    loadings : ndarray of shape (n_features, d)
        W.
    mean : ndarray of shape (n_features,)
        b.
    noise_variance : ndarray of shape (n_features,)
        diag Psi.
    """

    loadings: np.ndarray
    mean: np.ndarray
    noise_variance: np.ndarray


def probabilistic_pca(X, n_components, seed):
    """Maximum likelihood for one noise variance: W = U (Lambda - sigma^2)^1/2."""
    return _of_pca(PCA(n_components, random_state=seed).fit(X), sharpness=1)


def _of_pca(pca, sharpness):
    noise = max(sharpness * pca.noise_variance_, SMALLEST_NOISE)
    signal = np.sqrt(np.maximum(pca.explained_variance_ - noise, 0))
    return LinearModel(pca.components_.T * signal, pca.mean_, np.full(len(pca.mean_), noise))


def factor_analysis(X, n_components, seed):
    """Maximum likelihood for one noise variance per feature."""
    fa = FactorAnalysis(n_components, random_state=seed).fit(X)
    return LinearModel(fa.components_.T, fa.mean_, np.maximum(fa.noise_variance_, SMALLEST_NOISE))


def known_noise(X, n_components, seed, noise_variance):
    """Maximum likelihood for given noise variances: pPCA of X / sigma with noise 1."""
    sigma = np.sqrt(noise_variance)
    pca = PCA(n_components, random_state=seed).fit(X / sigma)
    signal = np.sqrt(np.maximum(pca.explained_variance_ - 1, 0))
    return LinearModel(sigma[:, None] * pca.components_.T * signal, sigma * pca.mean_, noise_variance)


MODELS = {"shared": probabilistic_pca, "per_feature": factor_analysis, "heteroscedastic": factor_analysis}


def linear_model(X, n_components, noise_variance, seed):
    """The maximum-likelihood linear model of X.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    n_components : int
        d; the data may not carry as many, in which case the last loadings are 0.
    noise_variance : {"shared", "per_feature", "heteroscedastic"} or ndarray of shape (n_features,)
        How the noise is parametrised, or its fixed values.
    seed : int
        For the randomised solvers.

    Returns
    -------
    LinearModel
    """
    rank = _rank(X, n_components)
    if rank < 1:
        model = LinearModel(np.zeros((X.shape[1], 0)), X.mean(0), np.maximum(X.var(0), SMALLEST_NOISE))
    elif isinstance(noise_variance, str):
        model = MODELS[noise_variance](X, rank, seed)
    else:
        model = known_noise(X, rank, seed, noise_variance)
    return _padded(model, n_components)


def sharp_model(X, n_components, seed):
    """PCA's directions with a thousandth of its noise; parameters and result as for `linear_model`."""
    rank = _rank(X, n_components)
    if rank < 1:
        return linear_model(X, n_components, "shared", seed)
    return _padded(_of_pca(PCA(rank, random_state=seed).fit(X), SHARPNESS), n_components)


def _rank(X, n_components):
    """How many loadings the data can carry beside the noise."""
    # PCA estimates the noise from the directions left over, so there has to be one.
    return min(n_components, min(X.shape) - 1) if np.ptp(X, axis=0).any() else 0


def _padded(model, n_components):
    padding = np.zeros((len(model.mean), n_components - model.loadings.shape[1]))
    return model._replace(loadings=np.hstack([model.loadings, padding]))


def start_at(module, model):
    """Make `module`, of two networks with a linear path, the linear model.

    Parameters
    ----------
    module : sklearn_vae.module.VAE
    model : LinearModel
    """
    W, b, psi = model
    values, vectors = np.linalg.eigh(np.eye(W.shape[1]) + W.T @ (W / psi[:, None]))
    # Their signs are free, and rounding would decide; scikit-learn's W already has signs of its own.
    vectors *= np.where(vectors.sum(0) < 0, -1, 1)
    basis, numbers = module.posterior.closest_to(1 / values)
    W = W @ vectors @ basis.T
    A = basis @ np.diag(1 / values) @ basis.T @ (W / psi[:, None]).T
    weight = np.vstack([A, np.zeros((len(numbers), len(b)))])
    module.encoder.start_linear(_float32(weight), _float32(np.append(-A @ b, numbers)))
    module.decoder.start_linear(*module.likelihood.start(_float32(W), _float32(b), _float32(psi)))


@torch.no_grad()
def release_noise(module, judge, x):
    """Give the noise its maximum-likelihood value on x (n, n_features), and the posterior variance a like share.

    The errors are those of `judge`, which is the module itself or one that was not trained on x. One number for
    all features: with one for each, a few rows would decide on many numbers.
    """
    error = x - judge.reconstruct(x)
    before = module.likelihood.noise_variance.mean()
    noise = error.square().mean().clamp(min=SMALLEST_NOISE)
    module.likelihood.start_noise(noise.expand(x.shape[1]))
    growth = torch.log(module.likelihood.noise_variance.mean() / before)
    module.encoder.linear.bias[module.posterior.log_variances(module.n_components)] += growth


def _float32(array):
    return torch.as_tensor(array, dtype=torch.float32)
