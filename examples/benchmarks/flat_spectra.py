"""Curved surfaces whose linear spectrum is flat, on defaults: R² and score beside PCA.

Where every direction has the same variance the maximum-likelihood linear model has no signal, and
an autoencoder that starts there can stay there. Three such sets of two intrinsic dimensions:

sine surface      (x, y, sin(x + y) + noise), 2000 rows (`sklearn_vae.datasets.make_sine_sum`)
swiss roll        scikit-learn's, its coordinates whitened, 2000 rows
sphere            six clusters on the unit sphere in three dimensions, noise 0.02, whitened,
                  2000 rows

R² is the mean over features, of the training data, as for any transformer whose components are used
on the data it was fitted to; the score is that of 1000 new rows, minus PCA's.

Run as ``python examples/benchmarks/flat_spectra.py --out examples/benchmarks/flat_spectra.txt``.
"""

import argparse
import os
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from joblib import Parallel, delayed
from report import heading, publish
from sklearn.datasets import make_swiss_roll
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.datasets import make_sine_sum

N, N_NEW = 2000, 1000


def sine_surface(seed):
    """Rows of the sine surface."""
    return make_sine_sum(N + N_NEW, 0.05, seed, surface=True)


def swiss_roll(seed):
    """Rows of the swiss roll, whitened."""
    return PCA(whiten=True).fit_transform(
        make_swiss_roll(N + N_NEW, noise=0.05, random_state=seed)[0]
    )


def sphere(seed):
    """Rows of six clusters on a sphere, whitened."""
    rng = np.random.RandomState(seed)
    centres = np.vstack([np.eye(3), -np.eye(3)])
    X = centres[rng.randint(6, size=N + N_NEW)] + 0.4 * rng.standard_normal((N + N_NEW, 3))
    X = X / np.linalg.norm(X, axis=1, keepdims=True) + 0.02 * rng.standard_normal(X.shape)
    return PCA(whiten=True).fit_transform(X)


SETS = {"sine surface": sine_surface, "swiss roll": swiss_roll, "sphere": sphere}
MODELS = {"pca": PCA, "vae": VAETransformer, "rho": RhoVAETransformer}


def one(name, seed):
    """R² and score of each model on one draw of a set."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    X = SETS[name](seed)
    train, new = X[:N], X[N:]
    out = {}
    for label, cls in MODELS.items():
        model = cls(2, random_state=seed).fit(train)
        rebuilt = model.inverse_transform(model.transform(train))
        out[label] = (
            r2_score(train, rebuilt),
            model.score(new),
            getattr(model, "n_active_components_", 2),
        )
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    jobs = [(name, seed) for name in SETS for seed in range(options.seeds)]
    results = Parallel(n_jobs=options.jobs)(delayed(one)(*job) for job in jobs)
    lines = [
        *heading(
            f"flat_spectra.py --seeds {options.seeds}",
            ("torch", "scikit-learn", "numpy"),
            "two components, defaults",
        ),
        "",
        f"{'set':14}{'seed':>5}{'R²: PCA':>10}{'VAE':>8}{'rho-VAE':>9}{'gain, nats: VAE':>18}"
        f"{'rho-VAE':>9}{'active: VAE':>13}{'rho-VAE':>9}",
    ]
    for (name, seed), out in zip(jobs, results, strict=True):
        pca, vae, rho = (out[label] for label in MODELS)
        lines.append(
            f"{name:14}{seed:5}{pca[0]:10.3f}{vae[0]:8.3f}{rho[0]:9.3f}{vae[1] - pca[1]:+18.2f}"
            f"{rho[1] - pca[1]:+9.2f}{vae[2]:13}{rho[2]:9}"
        )
    publish(lines, options.out)


if __name__ == "__main__":
    main()
