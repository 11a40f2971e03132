"""Missing values filled in: our imputer beside scikit-learn's, on public tables.

Columns are standardised, values taken out, and the root mean squared error of what is filled in is
that over the values taken out, in standard deviations. Values go missing

at random      10, 30 and 50 % of all, completely at random
by a column    30 %, the more likely the larger the first column is, which stays complete
in blocks      one block of a third of the columns in half of the rows

Beside the errors stand CPU seconds, the share of missing values in the 90 % intervals of 50 draws,
and the accuracy of a classifier on components of the incomplete table beside PCA's of a table that
was filled by the mean and by ridge regressions. The ends of an interval are at 0.05 and 0.95 of
n + 1 gaps between n draws: if draws and values are alike, 90 % of the values lie within.

Run as ``python examples/benchmarks/imputation.py --out examples/benchmarks/imputation.txt``. The
random forests take most of the time. ``--kept TABLE`` takes what ``--imputers`` leaves out from a
table that was made before. It is an error if the two differ in a column that both have.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import sklearn
from joblib import Memory, Parallel, delayed
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


def filled_by(label, X, missing, seed):
    """The error and seconds of an imputer, and the imputer."""
    warnings.simplefilter("ignore")
    begun, imputer = time.process_time(), IMPUTERS[label](seed)
    filled = imputer.fit_transform(np.where(missing, np.nan, X))
    seconds = time.process_time() - begun
    return np.sqrt(np.square(filled - X)[missing].mean()), seconds, imputer


def result_of(label, X, missing, seed, version=sklearn.__version__):
    """The error and seconds of an imputer that a version of scikit-learn has."""
    return filled_by(label, X, missing, seed)[:2]


def one(X, y, kind, seed, labels, cache):
    """Errors, seconds, coverage and accuracies for one mask of one table."""
    warnings.simplefilter("ignore")
    X = StandardScaler().fit_transform(X[:, np.ptp(X, axis=0) > 0])
    missing = mask_of(kind, X, seed)
    holes = np.where(missing, np.nan, X)
    others = Memory(cache, verbose=0).cache(result_of)
    out = {label: others(label, X, missing, seed) for label in labels if label != "vae"}
    if "vae" in labels:
        *out["vae"], imputer = filled_by("vae", X, missing, seed)
        draws = imputer.estimator_.impute(holes, multiple=50, random_state=seed)[:, missing]
        low, high = np.quantile(draws, [0.05, 0.95], axis=0, method="weibull")
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


def kept_errors(path, errors):
    """Errors of the imputers that are not in `errors`, by imputer and cell, from a table at `path`.

    Raises
    ------
    ValueError
        If the errors of another imputer than ours there are not those in `errors`.
    """
    lines = Path(path).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("table "))
    labels, kept = lines[start].split("missing")[1].split()[:-3], {}
    for line in lines[start + 1 : lines.index("", start)]:
        cell = line[:15].strip(), line[15:28].strip()
        for label, error in zip(labels, line[28:].split(), strict=False):
            if label not in errors:
                kept.setdefault(label, {})[cell] = float(error)
            elif label != "vae" and error != f"{errors[label][cell]:.3f}":
                raise ValueError(f"{label}, {cell}: {error} before, {errors[label][cell]:.3f} now.")
    return kept


def means_of(jobs, results, function):
    """The mean over masks of a function of results, by cell: a table and a kind of mask."""
    values = {}
    for (name, kind, _), result in zip(jobs, results, strict=True):
        values.setdefault((name, kind), []).append(function(result))
    return {cell: np.mean(each) for cell, each in values.items()}


def of_cells(errors, covered):
    """Lines of a table of errors, by imputer and cell, and of coverage, and what they come to."""
    labels = "".join(f"{label:>9}" for label in errors)
    lines = [f"{'table':15}{'missing':13}{labels}{'in 90 %':>9}"]
    for cell, share in covered.items():
        each = "".join(f"{of_label[cell]:9.3f}" for of_label in errors.values())
        lines.append(f"{cell[0]:15}{cell[1]:13}{each}{share:9.2f}")
    lines += ["", "Error of vae over that of the other, over the cells above:"]
    for label in [label for label in errors if label != "vae"]:
        r = np.array([errors["vae"][cell] / errors[label][cell] for cell in covered])
        lines.append(
            f"  {label:8} mean {r.mean():.3f}, largest {r.max():.3f}, at most 1 in "
            f"{100 * np.mean(r <= 1):.0f} %, at most 1.05 in {100 * np.mean(r <= 1.05):.0f} %"
        )
    share = np.array(list(covered.values()))
    good = 100 * np.mean((share >= 0.85) & (share <= 0.95))
    lines += ["", "Share of missing values in the 90 % intervals, over the cells above:"]
    lines.append(
        f"  mean {share.mean():.3f}, {share.min():.2f} to {share.max():.2f}, "
        f"0.85 to 0.95 in {good:.0f} %"
    )
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=3)
    parser.add_argument("--max-rows", type=int, default=600)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tables", nargs="*", default=[*OWN, *PUBLIC])
    parser.add_argument("--imputers", nargs="*", default=[*IMPUTERS])
    parser.add_argument("--kept", help="a table with the errors of imputers left out")
    parser.add_argument("--cache", help="folder in which the results of other imputers are kept")
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
        delayed(one)(*tables[name], kind, seed, options.imputers, options.cache)
        for name, kind, seed in jobs
    )
    errors = {
        label: means_of(jobs, results, lambda result, label=label: result[label][0])
        for label in options.imputers
    }
    kept = kept_errors(options.kept, errors) if options.kept else {}
    errors = {label: (errors | kept)[label] for label in IMPUTERS if label in errors | kept}
    how = "" if {*options.imputers} == {*IMPUTERS} else f" --imputers {' '.join(options.imputers)}"
    how += " --kept TABLE" if kept else ""
    lines = [
        *heading(
            f"imputation.py --masks {options.masks} --max-rows {options.max_rows}{how}",
            ("torch", "scikit-learn", "numpy"),
            "root mean squared errors in standard deviations, means over masks",
        ),
        *([f"Errors of {', '.join(kept)} are those of the table before."] if kept else []),
        "",
        *of_cells(errors, means_of(jobs, results, lambda result: result["coverage"])),
        "",
        "CPU seconds, mean over all masks of all tables:",
    ]
    seconds = {k: np.mean([r[k][1] for r in results]) for k in options.imputers}
    lines.append("  " + ", ".join(f"{label} {each:.2f}" for label, each in seconds.items()))
    of_classes = [r["accuracies"] for r in results if "accuracies" in r]
    lines += ["", "Accuracy of logistic regression on five components, 30 % missing:"]
    for label in of_classes[0]:
        values = [scores[label] for scores in of_classes]
        lines.append(f"  {label:11} {np.mean(values):.3f} ± {standard_error(values):.3f}")
    publish(lines, options.out)


if __name__ == "__main__":
    main()
