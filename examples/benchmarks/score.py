"""How far the score can be trusted: against the exact log-likelihood, and against many draws.

*Linear models*: five posteriors, both kinds of noise, 2, 5 and 10 components, four tables; the
error is that of `score_samples` with its default draws, and of as many draws of the encoder's
posterior, against the exact normal density.
*Nonlinear models*: the same two against `score_samples` with 16,384 draws, on 80 rows. ``time`` is
that of `score_samples` over that of the encoder's draws, for 400 rows.

Run as ``python examples/benchmarks/score.py --out examples/benchmarks/score.txt``.
"""

import argparse
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from report import heading, publish
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.preprocessing import StandardScaler
from tables import load_tables

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.datasets import make_sine_sum
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.objectives import fixed_deviates, importance_weighted

POSTERIORS = {
    "diag": VAETransformer,
    "spherical": VAETransformer,
    "full": VAETransformer,
    "ar1": RhoVAETransformer,
    "scaled_ar1": RhoVAETransformer,
}
DIGITS = load_digits().data[:600]
CANCER = load_breast_cancer().data
NONLINEAR = {
    "digits": (DIGITS, 8, {}),
    "sine surface": (make_sine_sum(800, 0.05, 0, surface=True), 2, {}),
    "breast cancer": (CANCER, 5, {}),
    "breast cancer, full": (CANCER, 5, {"covariance_type": "full"}),
    "breast cancer, spherical, per feature": (
        CANCER,
        5,
        {"covariance_type": "spherical", "likelihood": Gaussian("per_feature")},
    ),
    "digits, bernoulli": ((DIGITS > 8).astype(float), 8, {"likelihood": "bernoulli"}),
    "digits, poisson": (DIGITS, 8, {"likelihood": "poisson"}),
}


def scaled(model, X):
    """Rows as the net takes them."""
    varies = model.scale_ > 0
    return torch.from_numpy((X - model.mean_)[:, varies] / model.scale_[varies])


def by_encoder(model, X, n_draws=64):
    """The importance-weighted bound over draws of the encoder's posterior."""
    with torch.no_grad():
        module, x = model.net_.module_in(torch.float64), scaled(model, X)
        bound = importance_weighted(module(x, fixed_deviates(n_draws, model.n_components)), x)
    return bound.numpy() - model.net_.log_scale


def exact(model, X):
    """The normal density of a linear model."""
    module = model.net_.module_in(torch.float64)
    W, b = (t.detach().numpy() for t in (module.decoder.linear.weight, module.decoder.linear.bias))
    psi = module.likelihood.noise.variance.detach().expand(len(b)).numpy()
    return (
        multivariate_normal(b, W @ W.T + np.diag(psi)).logpdf(scaled(model, X))
        - model.net_.log_scale
    )


def of_errors(error):
    """Mean, largest above, largest."""
    return f"{error.mean():+12.1e}{error.max():+12.1e}{np.abs(error).max():12.1e}"


def linear(write):
    """The table of linear models: the worst over components and noises."""
    write(
        f"\n{'linear models':38}{'score: mean':>12}{'above':>12}{'largest':>12}"
        f"{'encoder: mean':>14}{'above':>10}"
    )
    tables = {"vehicle": load_tables(["vehicle"])["vehicle"][0], "wine": load_wine().data}
    tables |= {"breast cancer": CANCER, "diabetes": load_diabetes().data}
    for name, X in tables.items():
        X = StandardScaler().fit_transform(X)
        for posterior, Estimator in POSTERIORS.items():
            errors, others = [], []
            for noise in ("shared", "per_feature"):
                for d in (2, 5, min(10, X.shape[1] - 1)):
                    model = Estimator(
                        d,
                        covariance_type=posterior,
                        hidden_layer_sizes=(),
                        likelihood=Gaussian(noise),
                        random_state=0,
                        max_iter=50,
                    ).fit(X)
                    truth = exact(model, X)
                    errors.append(model.score_samples(X) - truth)
                    others.append(by_encoder(model, X) - truth)
            means = [max((e.mean() for e in kind), key=abs) for kind in (errors, others)]
            above = [max(e.max() for e in kind) for kind in (errors, others)]
            largest = max(np.abs(e).max() for e in errors)
            write(
                f"{name + ', ' + posterior:38}{means[0]:+12.1e}{above[0]:+12.1e}{largest:12.1e}"
                f"{means[1]:+14.3f}{above[1]:+10.2f}"
            )


def nonlinear(write):
    """The table of nonlinear models."""
    write(
        f"\n{'nonlinear models':38}{'score: mean':>12}{'above':>8}{'largest':>9}"
        f"{'encoder: mean':>15}{'above':>8}{'largest':>9}{'least effective':>17}{'time':>7}"
    )
    for name, (X, d, params) in NONLINEAR.items():
        model = VAETransformer(d, random_state=0, max_iter=150, **params).fit(X)
        rows = X[:80]
        many = np.concatenate(
            [model.score_samples(rows[i : i + 4], n_draws=16384) for i in range(0, 80, 4)]
        )
        estimate = model.score_samples(rows, diagnostics=True)
        error, other = estimate.log_prob - many, by_encoder(model, rows) - many
        seconds = []
        for call in (model.score_samples, lambda X, model=model: by_encoder(model, X)):
            times = []
            for _ in range(3):
                start = time.perf_counter()
                call(X[:400])
                times.append(time.perf_counter() - start)
            seconds.append(np.median(times))
        write(
            f"{name:38}{error.mean():+12.3f}{error.max():+8.2f}{np.abs(error).max():9.2f}"
            f"{other.mean():+15.3f}{other.max():+8.2f}{np.abs(other).max():9.2f}"
            f"{estimate.effective_draws.min():17.1f}{seconds[0] / seconds[1]:7.1f}"
        )


def main():
    """Print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lines = heading("score.py", ("torch", "scikit-learn", "numpy"), "nats; 64 draws unless stated")
    linear(lines.append)
    nonlinear(lines.append)
    publish(lines, options.out)


if __name__ == "__main__":
    main()
