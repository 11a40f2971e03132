"""Equations of the guide that no other test holds, against dense normal distributions."""

import numpy as np
import torch
from scipy import stats
from scipy.linalg import toeplitz
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from torch.distributions import MultivariateNormal, kl_divergence

from sklearn_vae import VAETransformer
from sklearn_vae.posteriors import AR1

X = StandardScaler().fit_transform(load_wine().data)


def linear_model(**params):
    """A fitted linear model, its loadings, its mean and its noise, in X's units."""
    params = {"hidden_layer_sizes": (), "standardize": False, "max_iter": 5, **params}
    vae = VAETransformer(3, random_state=0, **params).fit(X)
    origin = vae.inverse_transform(np.zeros((1, 3)))
    return vae, (vae.inverse_transform(np.eye(3)) - origin).T, origin[0], vae.noise_variance_


def test_the_bound_and_what_it_lacks():
    """log p(x) = ELBO(x) + KL(q(z | x) || p(z | x)), row by row."""
    vae, W, b, noise = linear_model()
    S = np.linalg.inv(np.eye(3) + W.T @ (W / noise[:, None]))
    with torch.no_grad():  # a posterior that is not the true one
        vae.net_.module_.encoder.linear.bias += 0.3
    mean, covariance = map(torch.from_numpy, vae.posterior(X))
    q = MultivariateNormal(mean, covariance)
    truth = MultivariateNormal(
        torch.from_numpy((X - b) / noise @ W @ S), torch.from_numpy((S + S.T) / 2)
    )
    exact = stats.multivariate_normal(b, W @ W.T + np.diag(noise)).logpdf(X)
    # The reconstruction term in closed form: E|x - Wz - b|^2 under q.
    away = X - mean.numpy() @ W.T - b
    spread = np.einsum("jk,nkl,jl->nj", W, covariance.numpy(), W)
    squares = ((away**2 + spread) / noise).sum(axis=1)
    reconstruction = -0.5 * (squares + np.log(2 * np.pi * noise).sum())
    prior = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    elbo = reconstruction - kl_divergence(q, prior).numpy()
    np.testing.assert_allclose(elbo + kl_divergence(q, truth).numpy(), exact, atol=1e-4)
    np.testing.assert_allclose(vae.elbo(X, n_draws=1024), elbo, atol=0.1)


def test_what_an_autoregressive_posterior_loses():
    """1/2 sum_k (s t_k / v_k - 1 - log(s t_k / v_k)), where both have the same eigenvectors."""
    for d in (1, 2, 4, 9):
        v = np.linspace(0.05, 0.9, d)
        basis, numbers = AR1.closest_to(v)
        q = AR1(torch.from_numpy(np.append(np.zeros(d), numbers))[None], d)
        C = q.covariance()[0]
        S = torch.from_numpy(basis @ np.diag(v) @ basis.T)
        zero = torch.zeros(d).double()
        lost = kl_divergence(MultivariateNormal(zero, C), MultivariateNormal(zero, S)).item()
        rho, s = q.own_form()["rho"].item(), q.own_form()["variance"].flatten()[0].item()
        t = np.sort(np.linalg.eigvalsh(toeplitz(rho ** np.arange(d))))
        ratio = s * t / np.sort(v)
        np.testing.assert_allclose(lost, 0.5 * (ratio - 1 - np.log(ratio)).sum(), atol=1e-6)
        np.testing.assert_allclose(s, d / (t / np.sort(v)).sum(), rtol=1e-3)
