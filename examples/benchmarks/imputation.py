"""Missing values filled in: our imputer beside scikit-learn's, on public tables.

Columns are standardised, values taken out, and the root mean squared error of what is filled in is
that over the values taken out, in standard deviations. Values go missing

at random      10, 30 and 50 % of all, completely at random
by a column    30 %, the more likely the larger the first column is, which stays complete
in blocks      one block of a third of the columns in half of the rows

Beside the errors stand CPU seconds, the share of missing values in the 90 % intervals of 50 draws,
and the accuracy of a classifier on components of the incomplete table beside PCA's of a table that
was filled by the mean and by ridge regressions.

Run as ``python examples/benchmarks/imputation.py --out examples/benchmarks/imputation.txt``.
"""

import argparse
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from joblib import Parallel, delayed
from measures import load_thinned, standard_error
from report import heading, publish
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEImputer, VAETransformer

PUBLIC = ("vehicle", "segment", "yeast", "vowel", "satellite", "letter")
OWN = {
    "iris": load_iris,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "diabetes": load_diabetes,
}
MASKS = ("10 %", "30 %", "50 %", "by a column", "in blocks")
IMPUTERS = {
    "vae": lambda seed: VAEImputer(random_state=seed),
    "ridge": lambda seed: IterativeImputer(random_state=seed),
    "knn": lambda seed: KNNImputer(),
    "forest": lambda seed: IterativeImputer(
        RandomForestRegressor(30, random_state=seed), max_iter=4, random_state=seed
    ),
    "mean": lambda seed: SimpleImputer(),
}


def mask_of(kind, X, seed):
    """Which values of X go missing."""
    rng = np.random.RandomState(seed)
    if kind == "by a column":
        ranks = X[:, :1].argsort(axis=0).argsort(axis=0) / len(X)
        missing = rng.random_sample(X.shape) < 0.6 * ranks
        missing[:, 0] = False
        return missing
    if kind == "in blocks":
        missing = np.zeros(X.shape, dtype=bool)
        rows = rng.permutation(len(X))[: len(X) // 2]
        columns = rng.permutation(X.shape[1])[: max(1, X.shape[1] // 3)]
        missing[np.ix_(rows, columns)] = True
        return missing
    return rng.random_sample(X.shape) < float(kind.split()[0]) / 100


def one(name, X, y, kind, seed, with_forest):
    """Errors, seconds, coverage and accuracies for one mask of one table."""
    warnings.simplefilter("ignore")
    X = StandardScaler().fit_transform(X[:, np.ptp(X, axis=0) > 0])
    missing = mask_of(kind, X, seed)
    holes, out = np.where(missing, np.nan, X), {}
    for label, make in IMPUTERS.items():
        if label == "forest" and not with_forest:
            continue
        begun, imputer = time.process_time(), make(seed)
        filled = imputer.fit_transform(holes)
        seconds = time.process_time() - begun
        error = np.sqrt(np.square(filled - X)[missing].mean())
        out[label] = error, seconds
        if label == "vae":
            draws = imputer.estimator_.impute(holes, multiple=50, random_state=seed)[:, missing]
            low, high = np.quantile(draws, [0.05, 0.95], axis=0)
            out["coverage"] = ((low <= X[missing]) & (X[missing] <= high)).mean()
    if kind == "30 %" and y is not None:
        out["accuracies"] = accuracies(holes, y, seed)
    return out


def accuracies(holes, y, seed):
    """Of a classifier on five components: ours, and PCA's after two imputers."""
    train, test = train_test_split(np.arange(len(y)), random_state=seed, stratify=y)
    d = min(5, holes.shape[1] - 1)
    makers = {
        "vae": VAETransformer(d, random_state=seed),
        "pca, mean": make_pipeline(SimpleImputer(), PCA(d)),
        "pca, ridge": make_pipeline(IterativeImputer(random_state=seed), PCA(d)),
    }
    scores = {}
    for label, model in makers.items():
        classifier = make_pipeline(model, StandardScaler(), LogisticRegression(max_iter=2000))
        scores[label] = classifier.fit(holes[train], y[train]).score(holes[test], y[test])
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=3)
    parser.add_argument("--max-rows", type=int, default=600)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tables", nargs="*", default=[*OWN, *PUBLIC])
    parser.add_argument("--no-forest", action="store_true")
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    tables = {name: OWN[name](return_X_y=True) for name in options.tables if name in OWN}
    tables = {name: (X, None if name == "diabetes" else y) for name, (X, y) in tables.items()}
    others = [name for name in options.tables if name not in OWN]
    tables |= load_thinned(others, options.max_rows) if others else {}
    jobs = [
        (name, kind, seed) for name in tables for kind in MASKS for seed in range(options.masks)
    ]
    results = Parallel(n_jobs=options.jobs)(
        delayed(one)(name, *tables[name], kind, seed, not options.no_forest)
        for name, kind, seed in jobs
    )
    labels = [label for label in IMPUTERS if label in results[0]]
    lines = [
        *heading(
            f"imputation.py --masks {options.masks} --max-rows {options.max_rows}",
            ("torch", "scikit-learn", "numpy"),
            "root mean squared errors in standard deviations, means over masks",
        ),
        "",
        f"{'table':15}{'missing':13}"
        + "".join(f"{label:>9}" for label in labels)
        + f"{'in 90 %':>9}",
    ]
    ratios = {label: [] for label in labels}
    for name in tables:
        for kind in MASKS:
            of = [r for job, r in zip(jobs, results, strict=True) if job[:2] == (name, kind)]
            errors = {label: np.mean([r[label][0] for r in of]) for label in labels}
            for label in labels:
                ratios[label].append(errors["vae"] / errors[label])
            covered = np.mean([r["coverage"] for r in of])
            lines.append(
                f"{name:15}{kind:13}"
                + "".join(f"{errors[label]:9.3f}" for label in labels)
                + f"{covered:9.2f}"
            )
    lines += ["", "Error of vae over that of the other, over the cells above:"]
    for label in labels[1:]:
        r = np.array(ratios[label])
        lines.append(
            f"  {label:8} mean {r.mean():.3f}, largest {r.max():.3f}, at most 1 in "
            f"{100 * np.mean(r <= 1):.0f} %, at most 1.05 in {100 * np.mean(r <= 1.05):.0f} %"
        )
    lines += ["", "CPU seconds, mean over all masks of all tables:"]
    lines.append("  " + ", ".join(f"{k} {np.mean([r[k][1] for r in results]):.2f}" for k in labels))
    of_classes = [r["accuracies"] for r in results if "accuracies" in r]
    lines += ["", "Accuracy of logistic regression on five components, 30 % missing:"]
    for label in of_classes[0]:
        values = [scores[label] for scores in of_classes]
        lines.append(f"  {label:11} {np.mean(values):.3f} ± {standard_error(values):.3f}")
    publish(lines, options.out)


if __name__ == "__main__":
    main()
