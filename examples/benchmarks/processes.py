"""What is paid once in a process, and what a second process buys.

1. ``import sklearn_vae`` in a fresh interpreter; then the first use of an estimator, which imports
   torch, skorch and scikit-learn; then the first fit beside the second.
2. ``GridSearchCV`` over 8 settings with ``n_jobs=2`` beside ``n_jobs=1``, interleaved; and how many
   threads torch has in the workers.

Run as ``python examples/benchmarks/processes.py --out examples/benchmarks/processes.txt``, on a
machine of two cores that does nothing else.
"""

import argparse
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import torch
from joblib import Parallel, delayed
from report import heading, publish
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sklearn_vae import VAETransformer

FIRST_USE = """
import time
start = time.perf_counter()
import sklearn_vae
sklearn_vae.VAETransformer
times = [time.perf_counter() - start]
import numpy as np
X = np.random.RandomState(0).standard_normal((500, 20))
for _ in range(3):
    start = time.perf_counter()
    sklearn_vae.VAETransformer(2, random_state=0, max_iter=2).fit(X)
    times.append(time.perf_counter() - start)
print(*times)
"""


def fresh(*arguments):
    """What a fresh interpreter writes."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def once(repeats):
    """Medians of what a fresh process pays."""
    cost, uses = [], []
    for _ in range(repeats):
        _, importtime = fresh("-X", "importtime", "-c", "import sklearn_vae")
        names = [line.split("|")[-1].strip() for line in importtime.splitlines()]
        assert not {"torch", "skorch", "sklearn"} & set(names)
        cost.append(int(importtime.splitlines()[-1].split("|")[1]) / 1e6)
        uses.append([float(part) for part in fresh("-c", FIRST_USE)[0].split()])
    use, first, second, third = np.median(uses, axis=0)
    yield f"import sklearn_vae: {np.median(cost):.3f} s, without torch, skorch and scikit-learn"
    yield f"first use of an estimator (imports torch, skorch and scikit-learn): {use:.2f} s"
    yield (
        f"first fit of 500 x 20, two epochs: {first:.2f} s; second {second:.2f} s; "
        f"third {third:.2f} s"
    )


def searching(repeats):
    """Seconds of a search with one and with two jobs."""
    X = load_digits().data / 16
    grid = {"n_components": [2, 4, 8, 16], "hidden_layer_sizes": [(64,), (128,)]}
    times = {1: [], 2: []}
    for i in range(repeats + 1):
        for n_jobs, seconds in times.items():
            search = GridSearchCV(
                VAETransformer(random_state=0, max_iter=30), grid, cv=2, n_jobs=n_jobs, refit=False
            )
            start = time.perf_counter()
            search.fit(X)
            if i:  # the first round starts the workers
                seconds.append(time.perf_counter() - start)
    one, two = (np.median(times[n]) for n in (1, 2))
    yield (
        f"GridSearchCV, 8 settings, cv=2: n_jobs=1 {one:.1f} s, n_jobs=2 {two:.1f} s, "
        f"{one / two:.2f} times faster"
    )
    threads = Parallel(n_jobs=2)(delayed(torch.get_num_threads)() for _ in range(4))
    yield (
        f"threads of torch: {torch.get_num_threads()} in this process, "
        f"{sorted(set(threads))} in the workers"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"
    lines = [
        *heading(
            "processes.py", ("torch", "scikit-learn", "joblib"), f"CPU, {os.cpu_count()} cores"
        ),
        "",
        *once(options.repeats),
        "",
        *searching(options.repeats),
    ]
    publish(lines, options.out)


if __name__ == "__main__":
    main()
