"""How the time of a fit grows with the number of rows, of features and of components.

1. Defaults on the first n rows of a shuffled real table (shuttle, 9 integer columns): seconds,
   epochs, and the share of the linear models from which training starts.
2. Defaults on 2000 digits of 28 x 28 pixels, of which every k-th is taken.
3. Two epochs without rows held out, normal data of 100 features, up to a million rows: medians of
   three interleaved runs; the slope is that of log seconds over log n, from the line above.

With ``--grid`` it is two epochs of 10,000 rows in place of these, for each number of features and
components.

Run as ``python examples/benchmarks/growth.py --out examples/benchmarks/growth.txt``, on a machine
that does nothing else.
"""

import argparse
import os
import time
import warnings
from itertools import product
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from report import heading, publish
from tables import load_tables

from sklearn_vae import VAETransformer
from sklearn_vae.selection import starts


class Stopwatch:
    """Sums the time spent in a function."""

    def __init__(self, function):
        self.function, self.seconds = function, 0.0

    def __call__(self, *args):
        start = time.perf_counter()
        try:
            return self.function(*args)
        finally:
            self.seconds += time.perf_counter() - start


def timed_fit(X, **params):
    """Seconds, epochs and the seconds spent on linear models."""
    linear, sharp = Stopwatch(starts.linear_model), Stopwatch(starts.sharp_model)
    with (
        patch.object(starts, "linear_model", linear),
        patch.object(starts, "sharp_model", sharp),
    ):
        start = time.perf_counter()
        model = VAETransformer(random_state=0, **params).fit(X)
        seconds = time.perf_counter() - start
    return seconds, model.n_iter_, linear.seconds + sharp.seconds


def on_rows(sizes):
    """Defaults on ever more rows."""
    X, _ = load_tables("shuttle")["shuttle"]
    X = X[np.random.RandomState(0).permutation(len(X))]
    yield f"{'rows of shuttle':24}{'d':>4}{'seconds':>10}{'epochs':>8}{'linear models':>15}"
    for n in sizes:
        for d in (2, 8):
            seconds, epochs, linear = timed_fit(X[:n], n_components=d)
            yield f"{len(X[:n]):24}{d:4}{seconds:10.1f}{epochs:8}{linear / seconds:15.1%}"


def on_features(steps):
    """Defaults on ever more features."""
    X, _ = load_tables("mnist")["mnist"]
    X = X[np.random.RandomState(0).permutation(len(X))[:2000]]
    yield f"{'pixels of digits':24}{'d':>4}{'seconds':>10}{'epochs':>8}{'linear models':>15}"
    for step in steps:
        for d in (2, 8):
            seconds, epochs, linear = timed_fit(X[:, ::step], n_components=d)
            yield (
                f"{X[:, ::step].shape[1]:24}{d:4}{seconds:10.1f}{epochs:8}{linear / seconds:15.1%}"
            )


def two_epochs(sizes, components=(8, 32), repeats=3):
    """Two epochs on ever more rows: medians of interleaved repeats, and the slope over all."""
    X = np.random.RandomState(0).standard_normal((sizes[-1], 100)).astype(np.float32)
    seconds = np.empty((repeats, len(components), len(sizes)))
    for i, (j, d), (k, n) in product(range(repeats), enumerate(components), enumerate(sizes)):
        seconds[i, j, k] = timed_fit(X[:n], n_components=d, max_iter=2, early_stopping=False)[0]
    yield f"{'rows, two epochs':24}{'d':>4}{'seconds':>10}{'slope':>8}"
    for d, medians in zip(components, np.median(seconds, axis=0), strict=True):
        slopes = np.diff(np.log(medians)) / np.diff(np.log(sizes))
        for n, median, slope in zip(sizes, medians, [np.nan, *slopes], strict=True):
            yield f"{n:24}{d:4}{median:10.2f}{slope:8.2f}"
        yield (
            f"{'least squares over all':24}{d:4}{'':10}"
            f"{np.polyfit(np.log(sizes), np.log(medians), 1)[0]:8.2f}"
        )


def grid(features, components, n=10_000):
    """Two epochs for each number of features and components.

    Seconds, and slopes from the first to the last.
    """
    yield (
        f"{'two epochs, seconds':24}"
        + "".join(f"{f'd = {d}':>10}" for d in components)
        + f"{'slope':>10}"
    )
    table = []
    for D in features:
        X = np.random.RandomState(0).standard_normal((n, D)).astype(np.float32)
        table.append(
            [timed_fit(X, n_components=d, max_iter=2, early_stopping=False)[0] for d in components]
        )
        slope = np.log(table[-1][-1] / table[-1][0]) / np.log(components[-1] / components[0])
        yield (
            f"{f'{D} features':24}"
            + "".join(f"{seconds:10.2f}" for seconds in table[-1])
            + f"{slope:10.2f}"
        )
    slopes = np.log(np.divide(table[-1], table[0])) / np.log(features[-1] / features[0])
    yield f"{'slope':24}" + "".join(f"{slope:10.2f}" for slope in slopes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--grid", action="store_true", help="features by components, in place of all else"
    )
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    timed_fit(np.random.RandomState(0).standard_normal((200, 5)), max_iter=2)  # what is paid once
    command = "growth.py --grid" if options.grid else "growth.py"
    lines = [*heading(command, ("torch", "scikit-learn"), "CPU, 1 thread"), ""]
    if options.grid:
        lines += grid((10, 30, 100, 300, 1000), (2, 8, 32, 128))
    else:
        lines += on_rows((250, 1000, 4000, 16_000, 58_000))
        lines += ["", *on_features((28, 7, 2, 1))]
        lines += ["", *two_epochs((1000, 10_000, 100_000, 1_000_000))]
    publish(lines, options.out)


if __name__ == "__main__":
    main()
