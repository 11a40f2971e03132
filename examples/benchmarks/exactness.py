"""The bound against known answers: a linear VAE is probabilistic PCA or factor analysis.

And `score` converges. Linear autoencoders (no hidden layer) are trained from random weights on
standardised data, constant columns left out (their likelihood is unbounded), and their training
score is compared with PCA's or FactorAnalysis', in nats per sample; the posterior families that
cannot express the exact posterior stand beside the gap that their best member leaves. For PCA the
largest principal angle between the decoder's columns and PCA's subspace follows, and then a table
in which a linear-Gaussian model of known parameters, under a posterior that is wrong on purpose, is
scored with more and more deviates against the exact log p(x).

Run as ``python examples/benchmarks/exactness.py pca`` and ``... factor_analysis``; the tables are
beside this file.
"""

import sys
import warnings

import numpy as np
import torch
from joblib import Parallel, delayed
from report import heading
from scipy.linalg import subspace_angles
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import LRScheduler

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.objectives import ELBO
from sklearn_vae.posteriors import POSTERIORS

EPOCHS = {"shared": 3000, "per_feature": 8000}
FAMILIES = {
    "diag": VAETransformer,
    "full": VAETransformer,
    "spherical": VAETransformer,
    "ar1": RhoVAETransformer,
    "scaled_ar1": RhoVAETransformer,
}
TABLES = {
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "digits": load_digits,
    "diabetes": load_diabetes,
}


def linear_vae(family, d, noise, seed=0):
    """A linear autoencoder to be trained from random weights to convergence, in full batches."""
    schedule = LRScheduler(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=EPOCHS[noise])
    return FAMILIES[family](
        d,
        covariance_type=family,
        likelihood=Gaussian(noise),
        objective=ELBO(n_draws=4),
        hidden_layer_sizes=(),
        init="random",
        learning_rate_init=0.02,
        batch_size=10_000,
        max_iter=EPOCHS[noise],
        n_iter_no_change=EPOCHS[noise],
        early_stopping=False,
        net_params={"callbacks": [schedule]},
        random_state=seed,
    )


def predicted_gap(family, loadings, psi):
    """Nats between the exact posterior of a linear model and the family's closest member.

    In its best basis.
    """
    values = np.linalg.eigvalsh(np.eye(loadings.shape[1]) + loadings.T @ (loadings / psi[:, None]))
    basis, numbers = POSTERIORS[family].closest_to(1 / values)
    q = POSTERIORS[family](
        torch.from_numpy(np.append(np.zeros(len(values)), numbers))[None], len(values)
    )
    precision = basis @ np.diag(values) @ basis.T
    product = precision @ q.covariance()[0].numpy()
    return 0.5 * (np.trace(product) - len(values) - np.linalg.slogdet(product)[1])


def linear_case(table, d, noise, family):
    """One cell of the first two tables."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    X = TABLES[table]().data
    X = StandardScaler().fit_transform(X[:, X.std(axis=0) > 0])
    if noise == "shared":
        linear = PCA(d).fit(X)
        loadings = linear.components_.T * np.sqrt(
            np.maximum(linear.explained_variance_ - linear.noise_variance_, 0)
        )
        psi = np.full(X.shape[1], linear.noise_variance_)
    else:
        linear = FactorAnalysis(d, tol=1e-8, max_iter=20_000, svd_method="lapack").fit(X)
        loadings, psi = linear.components_.T, np.maximum(linear.noise_variance_, 1e-8)
    vae = linear_vae(family, d, noise).fit(X)
    decoder = vae.net_.module_.decoder.linear.weight.detach().numpy()
    angle = np.degrees(subspace_angles(decoder, loadings)[0])
    spectrum = np.linalg.eigvalsh(np.cov(X.T))[::-1]
    return {
        "cell": (table, d, noise, family),
        "score": vae.score(X),
        "elbo": vae.elbo(X, n_draws=1024).mean(),
        "linear": linear.score(X),
        "gap": predicted_gap(family, loadings, psi),
        "angle": angle,
        "spectral gap": spectrum[d - 1] / spectrum[d],
    }


def exact_log_likelihood(vae, X):
    """Log p(x) of a fitted linear autoencoder, from its weights."""
    module = vae.net_.module_
    W = module.decoder.linear.weight.detach().double().numpy()
    b = module.decoder.linear.bias.detach().double().numpy()
    noise = np.broadcast_to(module.likelihood.noise.variance.detach().double().numpy(), len(b))
    x = (X - vae.mean_) / vae.scale_
    return multivariate_normal(b, W @ W.T + np.diag(noise)).logpdf(x) - np.log(vae.scale_).sum()


def convergence(family, d=4):
    """Mean and worst absolute error of `score_samples`, by the number of deviates.

    The posterior is made wrong.
    """
    X = load_wine().data
    vae = FAMILIES[family](
        d, covariance_type=family, hidden_layer_sizes=(), max_iter=1, learning_rate_init=1e-9
    )
    vae.set_params(early_stopping=False, random_state=0).fit(X)
    encoder = vae.net_.module_.encoder.linear
    with torch.no_grad():
        encoder.bias[:d] += 0.1
        encoder.bias[vae.net_.module_.posterior.log_variances(d)] += 0.3
    exact = exact_log_likelihood(vae, X)
    for n_draws in (1, 4, 16, 64, 256, 1024, 4096, 16384):
        error = vae.score_samples(X, n_draws=n_draws) - exact
        yield n_draws, error.mean(), np.abs(error).max()


def main(model):
    noise, families = {
        "pca": ("shared", list(FAMILIES)),
        "factor_analysis": ("per_feature", ["diag", "full"]),
    }[model]
    print(*heading(f"exactness.py {model}", ("torch", "scikit-learn", "scipy")), "", sep="\n")
    print(
        f"Training score minus that of {model}, nats per sample; {EPOCHS[noise]} full-batch "
        "epochs from random weights."
    )
    print(
        "Predicted: minus the gap that the family's best member leaves in the ELBO of the best "
        "linear model.\n"
    )
    cells = [(table, d, noise, family) for table in TABLES for d in (2, 5) for family in families]
    results = Parallel(n_jobs=2)(delayed(linear_case)(*cell) for cell in cells)
    print(
        f"{'table':15}{'d':>2}  {'family':12}{'linear':>10}{'score':>9}{'ELBO':>9}{'predicted':>11}"
    )
    for r in results:
        table, d, _, family = r["cell"]
        print(
            f"{table:15}{d:2}  {family:12}{r['linear']:10.3f}{r['score'] - r['linear']:+9.3f}"
            f"{r['elbo'] - r['linear']:+9.3f}{-r['gap']:+11.3f}"
        )
    if model == "pca":
        report_angles(results)
        report_convergence()


def report_angles(results):
    print(
        "\nLargest principal angle to PCA's subspace, degrees (beside it: the ratio of "
        "eigenvalues d and d + 1)\n"
    )
    for r in results:
        table, d, _, family = r["cell"]
        if family in ("diag", "full"):
            print(f"{table:15}{d:2}  {family:6}{r['angle']:8.2f}   ratio {r['spectral gap']:.2f}")


def report_convergence():
    print(
        "\nscore_samples minus the exact log p(x), nats, by the number of deviates: mean error "
        "(largest of a row)"
    )
    print("wine, d = 4, a posterior 0.1 off and 1.35 times too wide\n")
    for family in FAMILIES:
        print(family)
        for n_draws, mean, worst in convergence(family):
            print(f"{n_draws:8}{mean:+10.4f} ({worst:.4f})")


if __name__ == "__main__":
    main(sys.argv[1])
