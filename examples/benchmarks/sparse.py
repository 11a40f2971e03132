"""Peak memory and time of a fit to sparse tables of 5,000 columns, 1 % of whose values are not 0.

Each measurement is a process of its own. What it holds when the fit begins, the table included,
does not count. Gaussian and Poisson likelihood, two epochs, the networks of the defaults. Seconds
are by the clock. The committed table was made on a machine that was busy with other work.

Run as ``python examples/benchmarks/sparse.py --out examples/benchmarks/sparse.txt``.
"""

import argparse
import os
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from memory import MB, peak, run
from report import heading, publish
from scipy import sparse

from sklearn_vae import VAETransformer

N_FEATURES, PER_ROW = 5000, 50
PARAMS = {"n_components": 8, "max_iter": 2, "random_state": 0, "device": "cpu"}
ROWS = 20_000, 200_000


def counts(n, n_features=N_FEATURES, per_row=PER_ROW):
    """Counts above 0 at random places, as a CSR array of n rows."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, n_features, n * per_row, dtype=np.int32)
    values = 1.0 + rng.poisson(1.0, n * per_row)
    starts = np.arange(0, len(places) + 1, per_row, dtype=np.int32)
    X = sparse.csr_array((values, places, starts), shape=(n, n_features))
    X.sum_duplicates()
    return X


def held():
    """Bytes that this process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(answer, n, likelihood):
    """A line of the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    model = VAETransformer(**PARAMS, likelihood=likelihood)
    model.fit(counts(100, 20, 2))
    X = counts(n)
    before = held()
    model.fit(X)
    used, dense = peak() - before, 8 * X.shape[0] * X.shape[1]
    size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    seconds = np.mean(model.net_.history[:, "dur"])
    answer.put(
        f"{n:8,} {likelihood:10}{dense / MB:12,.0f}{size / MB:10,.0f}{used / MB:12,.0f}"
        f"{used / dense:12.3f}{seconds:12.1f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    lines = [
        *heading("sparse.py", ("torch", "scipy"), "5000-128-128-8, CPU, 1 thread"),
        "",
        f"{'rows':>8} {'likelihood':10}{'dense, MB':>12}{'CSR, MB':>10}{'peak, MB':>12}"
        f"{'of dense':>12}{'s an epoch':>12}",
        *(run(measure, n, name) for n in options.rows for name in ("gaussian", "poisson")),
    ]
    publish(lines, options.out)


if __name__ == "__main__":
    main()
