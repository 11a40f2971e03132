"""Outliers found by the log-likelihood of an autoencoder, beside other detectors, on public tables.

One class of a table is the inliers and the others are the outliers. Half of the inliers are trained
on. The detectors are compared by the area under the ROC curve over the other half and the outliers.
The training rows are clean, or a tenth of them are outliers, which are then not in the test rows.
Columns are divided by their standard deviations over the training rows for all but the autoencoders
of this package, which scale them themselves.

shared, per feature    `VAEOutlierDetector` with one noise variance or with one for each column, and
                       a third as many components as columns, at most 10
two                    as shared, with two components
half, half per feature the first two, with ``support_fraction=0.5``
forest                 `IsolationForest`
lof                    `LocalOutlierFactor(novelty=True)`
pca                    squared error of PCA's reconstruction, of as many components
pyod                   PyOD's VAE, where it is installed

Run as ``python examples/benchmarks/outliers.py --out examples/benchmarks/outliers.txt``.
"""

import argparse
import contextlib
import io
import os
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from joblib import Parallel, delayed
from measures import standard_error
from report import heading, publish
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler
from tables import load_tables

from sklearn_vae import VAEOutlierDetector, VAETransformer
from sklearn_vae.likelihoods import Gaussian

TASKS = (
    ("breast_cancer", 1),
    ("wine", 0),
    ("wine", 1),
    ("digits", 3),
    ("digits", 8),
)
CONTAMINATED = 0.1


def of_noise(noise, n_components=None, **params):
    """The detector with a kind of noise."""

    def scores(train, test, seed):
        d = n_components or max(1, min(train.shape[1] // 3, 10))
        vae = VAETransformer(d, likelihood=Gaussian(noise))
        return VAEOutlierDetector(vae, random_state=seed, **params).fit(train).score_samples(test)

    return scores


def of_scaled(function):
    """A detector of columns that are divided by their standard deviations."""

    def scores(train, test, seed):
        scaler = StandardScaler().fit(train)
        return function(scaler.transform(train), scaler.transform(test), seed)

    return scores


def pca(train, test, seed):
    """Minus the squared error of PCA's reconstruction."""
    model = PCA(max(1, min(train.shape[1] // 3, 10)), random_state=seed).fit(train)
    return -np.square(test - model.inverse_transform(model.transform(test))).sum(axis=1)


def pyod(train, test, seed):
    """Of PyOD's VAE, on its defaults."""
    from pyod.models.vae import VAE

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        batch_size = min(32, len(train) // 2)  # it drops the last batch
        model = VAE(verbose=0, random_state=seed, batch_size=batch_size).fit(train)
        return -model.decision_function(test)


DETECTORS = {
    "shared": of_noise("shared"),
    "per feature": of_noise("per_feature"),
    "two": of_noise("shared", 2),
    "half": of_noise("shared", support_fraction=0.5),
    "half per feature": of_noise("per_feature", support_fraction=0.5),
    "forest": of_scaled(
        lambda a, b, seed: IsolationForest(random_state=seed).fit(a).score_samples(b)
    ),
    "lof": of_scaled(lambda a, b, seed: LocalOutlierFactor(novelty=True).fit(a).score_samples(b)),
    "pca": of_scaled(pca),
    "pyod": of_scaled(pyod),
}


def split(X, is_inlier, contaminated, seed):
    """Rows to train on, test rows, and which of the latter are inliers."""
    rng = np.random.RandomState(seed)
    inliers, outliers = (rng.permutation(np.flatnonzero(part)) for part in (is_inlier, ~is_inlier))
    half = len(inliers) // 2
    n_bad = round(half * CONTAMINATED / (1 - CONTAMINATED)) if contaminated else 0
    train = np.concatenate([inliers[:half], outliers[:n_bad]])
    test = np.concatenate([inliers[half:], outliers[n_bad:]])
    return X[train], X[test], is_inlier[test]


def one(X, y, inlier, contaminated, seed, labels):
    """The area under the ROC curve of each detector."""
    warnings.simplefilter("ignore")
    train, test, is_inlier = split(X, y == inlier, contaminated, seed)
    out = {}
    for label in labels:
        scores = DETECTORS[label](train, test, seed)
        out[label] = roc_auc_score(is_inlier, np.clip(np.nan_to_num(scores), -1e300, 1e300))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--detectors", nargs="*", default=list(DETECTORS))
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    tables = load_tables(["breast_cancer", "wine", "digits"])
    jobs = [
        (name, inlier, contaminated, seed)
        for name, inlier in TASKS
        for contaminated in (False, True)
        for seed in range(options.seeds)
    ]
    results = Parallel(n_jobs=options.jobs)(
        delayed(one)(*tables[name][:2], inlier, contaminated, seed, options.detectors)
        for name, inlier, contaminated, seed in jobs
    )
    packages = (
        "torch",
        "scikit-learn",
        "numpy",
        *(["pyod"] if "pyod" in options.detectors else []),
    )
    lines = [
        *heading(
            f"outliers.py --seeds {options.seeds}",
            packages,
            "areas under the ROC curve, means over seeds ± standard errors",
        ),
        "",
        f"{'inliers':17}{'training':14}" + "".join(f"{label:>17}" for label in options.detectors),
    ]
    for cell in dict.fromkeys(job[:3] for job in jobs):
        of = [r for job, r in zip(jobs, results, strict=True) if job[:3] == cell]
        name, inlier, contaminated = cell
        lines.append(
            f"{name + ' ' + str(inlier):17}{'contaminated' if contaminated else 'clean':14}"
            + "".join(f"{shown([r[label] for r in of]):>17}" for label in options.detectors)
        )
    for contaminated in (False, True):
        of = [r for job, r in zip(jobs, results, strict=True) if job[2] == contaminated]
        lines.append(
            f"{'mean':17}{'contaminated' if contaminated else 'clean':14}"
            + "".join(f"{np.mean([r[k] for r in of]):>17.3f}" for k in options.detectors)
        )
    publish(lines, options.out)


def shown(values):
    """Their mean and standard error."""
    return f"{np.mean(values):.3f} ± {standard_error(values):.3f}"


if __name__ == "__main__":
    main()
