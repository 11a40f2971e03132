"""Columns that share a unit: raw images, spectra and series, in PCA's own terms.

For each table, in its raw units, on rows held out in several random splits: the explained share of
the total variance (R² in X's units), the accuracy of 5-nearest-neighbours on the components as they
come, and the score, of PCA on the raw columns and of ``VAETransformer`` with ``standardize="auto"``
(the default) and ``True``. ``unit`` says what "auto" decided. Tables of more than ``--max-rows``
rows are thinned to so many.

Run as ``python examples/benchmarks/shared_unit.py --out examples/benchmarks/shared_unit.txt``.
"""

import argparse
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from joblib import Parallel, delayed
from report import heading, publish
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from tables import load_tables

from sklearn_vae import VAETransformer

IN_ONE_UNIT = {
    "digits": 8,
    "mnist": 16,
    "satellite": 8,
    "letter": 8,
    "italy_power": 8,
    "arrow_head": 8,
    "coffee": 4,
    "sonar": 8,
    "yeast": 8,
    "vowel": 4,
    "iris": 2,
}
IN_MANY_UNITS = {
    "wine": 8,
    "breast_cancer": 8,
    "vehicle": 8,
    "segment": 8,
    "college": 8,
    "star98": 8,
}


def one_cell(name, X, y, d, split):
    """Every model on one split of one table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    train, test = train_test_split(np.arange(len(X)), random_state=split)
    varies = np.ptp(X[train], axis=0) > 0
    X = X[:, varies]
    out = {}
    for label, model in {
        "PCA": PCA(d, random_state=0),
        "auto": VAETransformer(d, random_state=split),
        "True": VAETransformer(d, standardize=True, random_state=split),
    }.items():
        start = time.perf_counter()
        Z = model.fit(X[train]).transform(X[train])
        seconds = time.perf_counter() - start
        Z_test = model.transform(X[test])
        rebuilt = model.inverse_transform(Z_test)
        accuracy = np.nan
        if y is not None:
            accuracy = KNeighborsClassifier(5).fit(Z, y[train]).score(Z_test, y[test])
        out[label] = {
            "r2": r2_score(X[test], rebuilt, multioutput="variance_weighted"),
            "accuracy": accuracy,
            "score": model.score(X[test]),
            "time": seconds,
        }
        if label == "auto":
            out["shared"] = len(np.unique(model.scale_)) == 1
    return name, d, out


def main():
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="*", default=[*IN_ONE_UNIT, *IN_MANY_UNITS])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--max-rows", type=int, default=5000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    jobs, components = [], IN_ONE_UNIT | IN_MANY_UNITS
    for name, (X, y) in load_tables(options.tables).items():
        if len(X) > options.max_rows:
            kept = np.random.RandomState(0).permutation(len(X))[: options.max_rows]
            X, y = X[kept], None if y is None else y[kept]
        jobs += [(name, X, y, components[name], split) for split in range(options.splits)]
    cells = {}
    for name, d, out in Parallel(n_jobs=options.jobs)(delayed(one_cell)(*job) for job in jobs):
        cells.setdefault((name, d), []).append(out)
    lines = heading(
        f"shared_unit.py --splits {options.splits} --max-rows {options.max_rows}",
        ("torch", "scikit-learn", "numpy"),
        f"{options.splits} splits",
    )
    lines += [
        f"{'':23}{'R² in X units':>24}{'5-nearest-neighbours':>24}{'score, nats':>33}"
        f"{'time, s':>9}",
        f"{'table':14}{'d':>2}{'unit':>7}"
        + 2 * f"{'PCA':>8}{'auto':>8}{'True':>8}"
        + f"{'PCA':>11}{'auto':>11}{'True':>11}",
    ]
    for (name, d), splits in cells.items():
        mean = {
            (who, key): np.mean([s[who][key] for s in splits])
            for who in ("PCA", "auto", "True")
            for key in ("r2", "accuracy", "score", "time")
        }
        row = f"{name:14}{d:2}{'one' if splits[0]['shared'] else 'many':>7}"
        for key, form in (("r2", "8.3f"), ("accuracy", "8.3f"), ("score", "11.2f")):
            row += "".join(format(mean[who, key], form) for who in ("PCA", "auto", "True"))
        lines.append(row + f"{mean['auto', 'time']:9.1f}")
    publish(lines, options.out)


if __name__ == "__main__":
    main()
