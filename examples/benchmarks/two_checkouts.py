"""Two checkouts of this package side by side: what a default fit costs and what it is worth.

For each table of ``tables.py``, d in 2 and 8 (below D) and each random split, an estimator with its
defaults is fitted by the package of ``--before`` and by that of this checkout, one after the other,
each in a process of its own on one thread. Written are, as means over splits with the standard
error of the difference: the processor's seconds of both, the held-out score, reconstruction R² and
accuracies of logistic regression and of 5-nearest-neighbours on the components; and PCA's and
factor analysis' scores. Features are standardised with the training rows. Tables of more than
``--max-rows`` rows are thinned to so many.

Run as ``python examples/benchmarks/two_checkouts.py --before PATH --out FILE``, where PATH is a
checkout of an earlier version, from an environment in which this one is installed. With
``--params`` the estimator of this checkout has other parameters than its defaults: a PATH to this
checkout then says what a setting costs and what it is worth. With ``--half`` it is stopped by
`max_time` where it has taken half of the seconds of the first.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from queue import Queue

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from measures import accuracies, load_thinned, r2, split_of, standard_error
from report import heading, publish
from sklearn.decomposition import PCA, FactorAnalysis

HERE = Path(__file__).resolve().parents[2]
ESTIMATORS = {"vae": "VAETransformer", "rho": "RhoVAETransformer"}
MEASURES = "score", "r2", "logistic", "5-nn"
BESIDE_TRAINING = 0.12  # seconds of a fit that `max_time` does not end


def measure(cls, tables, params, name, d, seed, max_time=None):
    """One fit and what it is worth; a version before `max_time` is never given one."""
    X, X_test, y, y_test = split_of(*tables[name], seed)
    model = cls(d, random_state=seed, **params, **({"max_time": max_time} if max_time else {}))
    start = time.process_time()
    model.fit(X)
    cell = {"seconds": time.process_time() - start, "score": model.score(X_test)}
    cell["r2"] = r2(X_test, model.inverse_transform(model.transform(X_test)))
    return cell | accuracies(model, X, X_test, y, y_test)


def serve(names, max_rows, params):
    """Answer requests, a line of JSON each, until there are no more."""
    import torch

    import sklearn_vae

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    tables = load_thinned(names, max_rows)
    print(json.dumps({name: list(X.shape) for name, (X, _) in tables.items()}), flush=True)
    for line in sys.stdin:
        estimator, *job = json.loads(line)
        cls = getattr(sklearn_vae, ESTIMATORS[estimator])
        print(json.dumps(measure(cls, tables, params, *job)), flush=True)


class Worker:
    """A process that has one of the checkouts."""

    def __init__(self, checkout, options, params):
        command = [sys.executable, __file__, "--serve", "--max-rows", str(options.max_rows)]
        command += ["--params", params, "--tables", *(options.tables or [])]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        self.shapes = json.loads(self.process.stdout.readline())

    def ask(self, *job):
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def compare(options):
    """Cells {(estimator, table, d): [(before, after, linear) of each split]}."""
    pairs = Queue()
    for _ in range(options.jobs):
        sides = (options.before, "{}"), (HERE, options.params)
        pairs.put([Worker(checkout, options, params) for checkout, params in sides])
    shapes = pairs.queue[0][0].shapes
    scores = cache(partial(linear, load_thinned(options.tables, options.max_rows)))
    jobs = [
        (estimator, name, d, options.first_split + k)
        for k in range(options.splits)
        for name, shape in shapes.items()
        for d in options.d
        if d < min(shape)
        for estimator in options.estimators
    ]

    def run(job):
        pair = pairs.get()
        try:
            before = pair[0].ask(*job)
            half = max(0.02, before["seconds"] / 2 - BESIDE_TRAINING) if options.half else None
            return job, before, pair[1].ask(*job, half)
        finally:
            pairs.put(pair)

    cells = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for job, before, after in pool.map(run, jobs):
            cells.setdefault(job[:3], []).append((before, after, scores(*job[1:])))
            print(*job, before["seconds"], after["seconds"], file=sys.stderr, flush=True)
    return cells


def linear(tables, name, d, seed):
    """The scores of the linear models; NaN where the covariance is singular to rounding."""
    X, X_test, *_ = split_of(*tables[name], seed)
    models = {"pca": PCA, "fa": FactorAnalysis}
    scores = dict.fromkeys(models, np.nan)
    for who, make in models.items():
        with warnings.catch_warnings(), suppress(np.linalg.LinAlgError):
            warnings.simplefilter("ignore")
            scores[who] = make(d, random_state=0).fit(X).score(X_test)
    return scores


def report(cells, write):
    """A line for each cell, and the sums."""
    for estimator in dict.fromkeys(key[0] for key in cells):
        own = {key[1:]: splits for key, splits in cells.items() if key[0] == estimator}
        write(
            f"\n{estimator}\n\n{'table':16}{'d':>2}{'before, s':>11}{'after, s':>10}{'ratio':>7}"
            f"{'score before':>14}{'after - before':>22}{'R²':>16}{'logistic':>16}{'5-nn':>16}"
        )
        summary = {}
        for (name, d), splits in own.items():
            before, after = (
                {m: np.array([s[i].get(m, np.nan) for s in splits]) for m in ("seconds", *MEASURES)}
                for i in (0, 1)
            )
            ratio = np.median(before["seconds"]) / np.median(after["seconds"])
            gain = after["score"] - before["score"]
            write(
                f"{name:16}{d:2}{np.median(before['seconds']):11.2f}"
                f"{np.median(after['seconds']):10.2f}{ratio:7.1f}{before['score'].mean():14.3f}"
                f"{gain.mean():+12.3f} ± {standard_error(gain):7.3f}"
                + "".join(
                    f"{before[m].mean():8.3f}{(after[m] - before[m]).mean():+8.3f}"
                    for m in MEASURES[1:]
                )
            )
            entry = {m: (after[m] - before[m]).mean() for m in MEASURES}
            entry |= {"ratio": ratio, "doubt": standard_error(gain)}
            for who in ("pca", "fa"):
                score = np.mean([s[2][who] for s in splits])
                entry |= {
                    f"{who} before": before["score"].mean() > score,
                    f"{who} after": after["score"].mean() > score,
                }
            for key, value in entry.items():
                summary.setdefault(key, []).append(value)
        values = {key: np.array(value) for key, value in summary.items()}
        ratios = values["ratio"]
        write(
            f"\n  time before over time after: median {np.median(ratios):.1f}, least "
            f"{ratios.min():.1f}, at least 5 in {np.mean(ratios >= 5):.0%} of {len(ratios)} cells"
        )
        for m in MEASURES:
            known = values[m][~np.isnan(values[m])]
            write(
                f"  {m}, after - before: mean {known.mean():+.4f} ± {standard_error(known):.4f}, "
                f"median {np.median(known):+.4f}, level or better in {np.mean(known >= 0):.0%}"
            )
        worse = values["score"] + np.nan_to_num(2 * values["doubt"]) < -0.1
        write(f"  worse by more than 0.1 nat beyond two standard errors: {worse.sum()} cells")
        for who in ("pca", "fa"):
            shares = (np.mean(values[f"{who} {when}"]) for when in ("before", "after"))
            write(
                f"  score above {who}: " + " before, ".join(f"{s:.0%}" for s in shares) + " after"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", help="the other checkout")
    parser.add_argument("--tables", nargs="*", help="names of tables, or pydataset; all if none")
    parser.add_argument("--estimators", nargs="*", default=list(ESTIMATORS))
    parser.add_argument("--d", nargs="*", type=int, default=[2, 8])
    parser.add_argument("--params", default="{}", help="of the estimator after, as JSON")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--first-split", type=int, default=0)
    parser.add_argument("--max-rows", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--half", action="store_true", help="stop the second at half the seconds")
    parser.add_argument("--out", help="file to write to; the screen if not given")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.tables or None, options.max_rows, json.loads(options.params))
    options.tables = options.tables or None
    cells = compare(options)
    words = f"two_checkouts.py --before PATH --splits {options.splits}"
    words += f" --first-split {options.first_split} --max-rows {options.max_rows}"
    words += f" --jobs {options.jobs} --estimators {' '.join(options.estimators)}"
    words += f" --tables {' '.join(options.tables)}" if options.tables else ""
    words += f" --d {' '.join(map(str, options.d))}" if options.d != parser.get_default("d") else ""
    words += f" --params '{options.params}'" if options.params != "{}" else ""
    words += " --half" if options.half else ""
    lines = heading(words, ("torch", "scikit-learn", "numpy"), f"{options.splits} splits")
    report(cells, lines.append)
    publish(lines, options.out)
    return None


if __name__ == "__main__":
    main()
