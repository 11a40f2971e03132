"""Seconds of a default fit beside busy processes, with and without ``OMP_NUM_THREADS=1``.

Two workers fit in turn. One has the environment as it is, and one has ``OMP_NUM_THREADS=1``. A line
of the table has medians over random splits, after a first fit that does not count. The busy
processes do nothing but compute. Fits with one noise variance for each feature start from factor
analysis, the others from PCA.

Run as ``python examples/benchmarks/busy.py --out examples/benchmarks/busy.txt``, on a machine that
does nothing else, without variables for threads in the environment.
"""

import argparse
import multiprocessing
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import product
from unittest.mock import patch

import numpy as np
from measures import load_thinned, split_of
from report import heading, publish

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Gaussian

TABLES = "wine", "coffee", "digits"
MOST_ROWS = 2000
SPAWN = multiprocessing.get_context("spawn")


def seconds(name, n_components, noise, split):
    """How long a fit takes on the rows that a split of a table trains on."""
    X = split_of(*load_thinned([name], MOST_ROWS)[name], split)[0]
    model = VAETransformer(n_components, likelihood=Gaussian(noise), random_state=split)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        model.fit(X)
        return time.perf_counter() - start


def compute():
    while True:
        sum(range(10_000))


@contextmanager
def busy(n):
    """A context with n processes that only compute."""
    processes = [SPAWN.Process(target=compute, daemon=True) for _ in range(n)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


@contextmanager
def two_workers():
    """A process without and one with the variable."""
    with ProcessPoolExecutor(1, SPAWN) as usual, ProcessPoolExecutor(1, SPAWN) as limited:
        usual.submit(os.getpid).result()
        with patch.dict(os.environ, OMP_NUM_THREADS="1"):
            limited.submit(os.getpid).result()
        yield usual, limited


def rows(options):
    """The lines of the table."""
    yield f"{'table':<16}{'d':>3}  {'noise':<13}{'busy':>5}{'usual':>9}{'limited':>9}{'ratio':>7}"
    cells = product(options.busy, options.tables, options.components, ("shared", "per_feature"))
    with two_workers() as workers:
        for n, *cell in cells:
            with busy(n):
                for worker in workers:
                    worker.submit(seconds, *cell, 0).result()
                times = [
                    [worker.submit(seconds, *cell, split).result() for worker in workers]
                    for split in range(options.repeats)
                ]
            usual, limited = np.median(times, axis=0)
            name, d, noise = cell
            yield (
                f"{name:<16}{d:>3}  {noise:<13}{n:>5}{usual:>9.2f}{limited:>9.2f}"
                f"{usual / limited:>7.2f}"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--components", nargs="+", type=int, default=(2, 8))
    parser.add_argument("--busy", nargs="+", type=int, default=(0, 2))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    lines = [
        *heading("busy.py", ("torch", "scikit-learn", "numpy"), f"CPU, {os.cpu_count()} cores"),
        f"Medians of seconds over {options.repeats} splits; at most {MOST_ROWS} rows.",
        "",
        *rows(options),
    ]
    publish(lines, options.out)


if __name__ == "__main__":
    main()
