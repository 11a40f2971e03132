"""How many fits of small random tables end below where they began, without a word?

Random tables of 2 to 300 rows and 1 to 60 columns, of fourteen kinds in turn. Each is fitted under
every likelihood that takes its values, in three ways: `fit` on defaults, `fit` without early
stopping, and `partial_fit` in blocks, five times over. What comes out is scored on its own rows and
held against two numbers for the same rows:

start         the estimator before training: one epoch at a learning rate of 1e-12
linear        Gaussian: probabilistic PCA of the standardised columns, in X's units, with a noise of
              at least 1e-10 standardised units, since a table of low rank has no upper bound.
              Bernoulli and counts: independent columns at their maximum likelihood (Poisson for the
              negative binomial too). None for the continuous Bernoulli

A fit is below if it is more than 1 nat under either, or not finite. It told if it warned (any
UserWarning but a ConvergenceWarning) or raised a ValueError; a fit that is below and did not tell
is silent. Other exceptions, LinAlgError among them, are crashes.

Run as ``python examples/benchmarks/sweep.py --out examples/benchmarks/sweep.txt``;
``--only N`` shows all fits of table N, with what they warned of.
"""

import argparse
import os
import shlex
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from joblib import Parallel, delayed
from report import heading, publish
from scipy import special
from sklearn.exceptions import ConvergenceWarning

from sklearn_vae import VAETransformer

FLOOR = 1e-10  # least noise variance of the linear model, in standardised units
MARGIN = 1.0  # nats per row
PASSES = 5
SHOWN = 40
WAYS = ("fit", "no early stopping", "partial_fit")


def round_normal(rng, n, D):
    """Independent columns: nothing to find."""
    return rng.standard_normal((n, D))


def exact_rank(rng, n, D):
    """Columns that are mixtures of one to five factors and nothing else."""
    rank = rng.randint(1, 6)
    return rng.standard_normal((n, rank)) @ rng.standard_normal((rank, D))


def low_rank(rng, n, D):
    """The same with a little noise."""
    return exact_rank(rng, n, D) + 10 ** rng.uniform(-4, -1) * rng.standard_normal((n, D))


def duplicated_rows(rng, n, D):
    """A few distinct rows, each repeated, in random order."""
    distinct = rng.randint(1, min(n, 8) + 1)
    return rng.standard_normal((distinct, D))[rng.permutation(np.arange(n) % distinct)]


def duplicated_columns(rng, n, D):
    """A few distinct columns, each repeated."""
    distinct = rng.randint(1, max(D // 2, 1) + 1)
    return rng.standard_normal((n, distinct))[:, np.arange(D) % distinct]


def one_hot(rng, n, D):
    """One to three factors as indicators, half the time with normal columns beside them."""
    levels = rng.randint(2, 7, size=rng.randint(1, 4))
    columns = [np.eye(k)[rng.randint(k, size=n)] for k in levels]
    if rng.randint(2):
        columns.append(rng.standard_normal((n, rng.randint(1, 6))))
    return np.hstack(columns)


def constant_columns(rng, n, D):
    """Normal columns and constant ones among them."""
    X = rng.standard_normal((n, D + 1))
    constant = rng.permutation(D + 1)[: rng.randint(1, D + 1)]
    X[:, constant] = rng.choice([0, 1, 0.1, 2019, -1e6], size=len(constant))
    return X


def counts(rng, n, D):
    """Poisson or negative binomial counts of means between 0.1 and 1000."""
    mean = np.tile(10 ** rng.uniform(-1, 3, size=D), (n, 1))
    if rng.randint(2):
        shape = 10 ** rng.uniform(-1, 1)
        mean *= rng.gamma(shape, 1 / shape, size=(n, D))
    return rng.poisson(mean).astype(float)


def binary(rng, n, D):
    """Zeros and ones, independent or following a few factors."""
    logit = exact_rank(rng, n, D) if rng.randint(2) else 2 * rng.standard_normal(D)
    return (rng.random_sample((n, D)) < special.expit(logit)).astype(float)


def proportions(rng, n, D):
    """Values in [0, 1]: evenly spread, at both ends, or parts of a whole."""
    variant = rng.randint(3)
    if variant == 0:
        return rng.random_sample((n, D))
    if variant == 1:
        return rng.beta(0.3, 0.3, size=(n, D)).round(3)
    return rng.dirichlet(np.ones(D), size=n).clip(0, 1)


def heavy_tails(rng, n, D):
    """Student's t with 2 degrees of freedom."""
    return rng.standard_t(2, size=(n, D))


def clusters(rng, n, D):
    """Two to five tight clusters."""
    centres = 3 * rng.standard_normal((rng.randint(2, 6), D))
    return centres[rng.randint(len(centres), size=n)] + 0.3 * rng.standard_normal((n, D))


def unlike_scales(rng, n, D):
    """Columns of scales between 1e-6 and 1e6, up to 1000 scales away from 0."""
    X = low_rank(rng, n, D) if rng.randint(2) else round_normal(rng, n, D)
    offset = rng.choice([-1, 1], size=D) * 10 ** rng.uniform(-1, 3, size=D)
    return 10 ** rng.uniform(-6, 6, size=D) * (X + offset)


def off_centre(rng, n, D):
    """The first rows of a stream away from the others, and less spread."""
    X = low_rank(rng, n, D) if rng.randint(2) else round_normal(rng, n, D)
    first = slice(max(1, int(n * rng.uniform(0.1, 0.4))))
    X[first] = 0.7 * X[first] + 3 * rng.standard_normal(D)
    return X


KINDS = (
    round_normal,
    low_rank,
    exact_rank,
    duplicated_rows,
    duplicated_columns,
    one_hot,
    constant_columns,
    counts,
    binary,
    proportions,
    heavy_tails,
    clusters,
    unlike_scales,
    off_centre,
)


def table(number, seed):
    """Table number so-and-so: its kind, its rows and a number of components."""
    rng = np.random.RandomState([seed, number])
    kind = KINDS[number % len(KINDS)]
    n, D = (round(np.exp(rng.uniform(*np.log(ends)))) for ends in ((2, 300), (1, 60)))
    X = kind(rng, n, D)
    return kind.__name__, X, rng.randint(1, min(X.shape[1] + 1, 8) + 1)


def likelihoods_of(X):
    """The likelihoods that take X's values."""
    names = ["gaussian"]
    if ((X >= 0) & (X <= 1)).all():
        names += ["bernoulli", "continuous_bernoulli"]
    if ((X >= 0) & (np.floor(X) == X)).all():
        names += ["poisson", "negative_binomial"]
    return names


def ppca_score(X, d):
    """Score of probabilistic PCA on its own rows: `PCA`'s, but for a noise of at least FLOOR."""
    n, D = X.shape
    k = min(d, D, n - 1)
    X = X - X.mean(0)
    values, axes = np.linalg.svd(X, full_matrices=False)[1:]
    values = values**2 / (n - 1)
    noise = max(values[k:].mean() if k < len(values) else 0.0, FLOOR)
    signal = np.maximum(values[:k], noise)
    Z = X @ axes[:k].T
    squares = (Z**2 / signal).sum(1) + ((X - Z @ axes[:k]) ** 2).sum(1) / noise
    log_det = np.log(signal).sum() + (D - k) * np.log(noise)
    return -0.5 * (squares.mean() + log_det + D * np.log(2 * np.pi))


def linear_score(X, d, likelihood, scale):
    """Score of the linear model on its own rows, NaN if there is none.

    Of columns scaled as the estimator scales them, since probabilistic PCA depends on it.
    """
    mean = X.mean(0)
    if likelihood == "gaussian":
        # Constant columns are left out here. The estimator under test may count them in its score
        # or not: start and result, of one class, can be compared either way, with this only if not.
        varying = ~is_constant(X)
        if not varying.any() or scale is None:
            return np.nan
        return ppca_score(X[:, varying] / scale[varying], d) - np.log(scale[varying]).sum()
    if likelihood == "bernoulli":
        return (special.xlogy(X, mean) + special.xlogy(1 - X, 1 - mean)).sum(1).mean()
    if likelihood in ("poisson", "negative_binomial"):
        return poisson_score(X, mean)
    return np.nan


def is_constant(X):
    """Which columns have one value only."""
    return np.ptp(X, axis=0) == 0


def poisson_score(X, mean):
    """Score of independent Poisson columns of these means."""
    return (special.xlogy(X, mean) - mean - special.gammaln(X + 1)).sum(1).mean()


def start_score(X, d, **params):
    """Score of an estimator that has not moved from its start, and its scales.

    NaN and None if there is none.
    """
    params = {"random_state": 0, **params}
    params |= {"learning_rate_init": 1e-12, "max_iter": 1, "early_stopping": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = VAETransformer(d, **params).fit(X)
            return model.score(X), model.scale_
        except ValueError:
            return np.nan, None


def stream(X, size, rng, in_order):
    """Blocks of about so many rows, five times over, each time in another order.

    The first time they come as they are if `in_order`. Each has at least two rows.
    """
    blocks = np.array_split(X, -(-len(X) // size))
    for i in range(PASSES):
        for b in range(len(blocks)) if in_order and i == 0 else rng.permutation(len(blocks)):
            yield blocks[b]


def fitted(model, way, X, kind, seed, max_iter):
    """The model fitted to X in one of three ways."""
    if way == "fit":
        return model.fit(X)
    if way == "no early stopping":
        return model.set_params(early_stopping=False, max_iter=max_iter).fit(X)
    rng = np.random.RandomState(seed)
    for block in stream(X, rng.randint(3, 101), rng, in_order=kind == "off_centre"):
        model.partial_fit(block)
    return model


def first_line(error):
    """An exception in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def cases_of(number, seed, max_iter):
    """Every fit of one table: a list of dict."""
    torch.set_num_threads(1)
    kind, X, d = table(number, seed)
    cases = []
    for likelihood in likelihoods_of(X):
        start, scale = start_score(X, d, likelihood=likelihood, random_state=number)
        linear = linear_score(X, d, likelihood, scale)
        for way in WAYS:
            case = {"number": number, "kind": kind, "shape": X.shape, "d": d}
            case |= {"way": way, "likelihood": likelihood, "start": start, "linear": linear}
            case |= {"without_constants": likelihood == "gaussian" and bool(is_constant(X).any())}
            cases.append(case | outcome(way, X, d, kind, likelihood, number, max_iter))
    return cases


def outcome(way, X, d, kind, likelihood, number, max_iter):
    """What came of one fit: its score, its warnings, its exception."""
    model = VAETransformer(d, likelihood=likelihood, random_state=number)
    result, error, crash = np.nan, "", ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fitted(model, way, X, kind, number, max_iter)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = model.score(X)
        except np.linalg.LinAlgError as problem:
            crash = first_line(problem)  # a ValueError by descent, but it says nothing to a user
        except ValueError as problem:
            error = first_line(problem)
        except Exception as problem:
            crash = first_line(problem)
    told = [w for w in caught if tells(w.category)]
    said = [f"{w.category.__name__}: {w.message}" for w in caught]
    return {"result": result, "error": error, "crash": crash, "warned": bool(told), "said": said}


def tells(category):
    """Whether a warning of this category tells a user of a bad fit."""
    return issubclass(category, UserWarning) and not issubclass(category, ConvergenceWarning)


def assessed(case):
    """A case with what it amounts to."""
    came_out, finite = not case["error"] and not case["crash"], bool(np.isfinite(case["result"]))
    scored, result = came_out and finite, case["result"]
    below_start = scored and bool(result < case["start"] - MARGIN)
    below_linear = scored and bool(result < case["linear"] - MARGIN)
    is_below = below_start or below_linear or (came_out and not finite)
    verdict = {
        "below start": below_start,
        "below linear": below_linear,
        "not finite": came_out and not finite,
        "told": bool(case["error"]) or (is_below and case["warned"]),
        "SILENT": is_below and not case["warned"],
        "warned above": came_out and not is_below and case["warned"],
        "errors": bool(case["error"]),
        "crashes": bool(case["crash"]),
    }
    return case | verdict


COUNTED = (
    "below start",
    "below linear",
    "not finite",
    "told",
    "SILENT",
    "warned above",
    "errors",
    "crashes",
)


def totals(cases):
    """How many of each, way by way and likelihood by likelihood."""
    lines = [f"{'way':19}{'likelihood':22}{'fits':>6}" + "".join(f"  {c}" for c in COUNTED)]
    groups = {("all", ""): cases}
    for case in sorted(cases, key=lambda case: WAYS.index(case["way"])):
        groups.setdefault((case["way"], case["likelihood"]), []).append(case)
    for (way, likelihood), group in groups.items():
        numbers = "".join(f"{sum(case[c] for case in group):{len(c) + 2}}" for c in COUNTED)
        lines.append(f"{way:19}{likelihood:22}{len(group):6}{numbers}")
    return lines


def short(value):
    """A score with two decimals unless there is no room for it."""
    return format(value, ".2f" if not abs(value) >= 1e6 else ".3e")


def shortfall(case):
    """By how many nats a fit is below; infinite if it is not a number."""
    if not np.isfinite(case["result"]):
        return np.inf
    return np.nanmax([case["start"], case["linear"], -np.inf]) - case["result"]


TITLE = (
    f"{'table':>5} {'kind':19}{'rows':>5}{'columns':>8}{'d':>3}  {'way':18}{'likelihood':21}"
    f"{'start':>12}{'linear':>13}{'result':>12}"
)


def one_line(case):
    """A case as a line under TITLE; the star says that the linear model has no constant columns."""
    n, D = case["shape"]
    star = "*" if case["without_constants"] else " "
    return (
        f"{case['number']:5} {case['kind']:19}{n:5}{D:8}{case['d']:3}  {case['way']:18}"
        f"{case['likelihood']:21}{short(case['start']):>12}{short(case['linear']):>12}{star}"
        f"{short(case['result']):>12}"
    )


def listing(cases):
    """The silent cases, worst first, and the crashes."""
    silent = sorted((case for case in cases if case["SILENT"]), key=shortfall, reverse=True)
    starred = sum(not case["below start"] and case["without_constants"] for case in silent)
    lines = [
        f"Silent: {len(silent)}, the worst {min(len(silent), SHOWN)} of them",
        f"(*: linear model of the columns that are not constant; {starred} are below nothing else)",
        "",
        TITLE,
        *(one_line(case) for case in silent[:SHOWN]),
    ]
    crashes = [f"{one_line(case)}  {case['crash']}" for case in cases if case["crash"]]
    return lines + (["", "Crashes", "", *crashes] if crashes else [])


def details(cases):
    """Every case, with what it said."""
    lines = [TITLE]
    for case in cases:
        words = [c for c in COUNTED if case[c]]
        lines.append(f"{one_line(case)}  {', '.join(words)}")
        said = dict.fromkeys([case["error"], case["crash"], *case["said"]])
        lines += [f"      {text}" for text in said if text]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-iter", type=int, default=200, help="without early stopping")
    parser.add_argument("--only", type=int, help="number of the one table to fit and show")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    numbers = range(options.tables) if options.only is None else [options.only]
    jobs = [delayed(cases_of)(number, options.seed, options.max_iter) for number in numbers]
    results = Parallel(n_jobs=options.jobs)(jobs)
    cases = [assessed(case) for of_one_table in results for case in of_one_table]
    words = ["sweep.py"]
    for name in ("tables", "seed", "max_iter", "only"):
        value = getattr(options, name)
        if value != parser.get_default(name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    packages = ("torch", "scikit-learn", "numpy")
    lines = heading(shlex.join(words), packages, f"{len(numbers)} tables, {len(cases)} fits")
    if options.only is None:
        lines += ["", *totals(cases), "", *listing(cases)]
    else:
        lines += ["", *details(cases)]
    publish(lines, options.out)


if __name__ == "__main__":
    main()
