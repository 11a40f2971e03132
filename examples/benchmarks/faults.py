"""Situations in which an estimator once did badly, or may: the figures that show it.

One line for each figure, with its value for each draw of the data (seeds 0, 1 and 2; one draw where
the data are given), and where it helps the same of PCA or another reference. Scores are in nats per
row, on fresh rows of the same kind unless it says "own rows". "start" is the score of the estimator
before training, "PCA, floored" that of probabilistic PCA with a noise of at least 1e-10 in standard
units, both on own rows. An exception ends its draw and stands below the figures, as do warnings.

Run as ``python examples/benchmarks/faults.py --out examples/benchmarks/faults.txt``;
``--only a e_iris`` runs the situations whose names begin with these.
"""

import argparse
import os
import shlex
import time
import warnings
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from report import heading, publish
from sklearn.datasets import load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sweep import first_line, linear_score, poisson_score, start_score

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.objectives import ELBO

N_NEW = 2000
SEEDS = (0, 1, 2)


def vae(d, **params):
    """The estimator on defaults but for what is given."""
    return VAETransformer(d, random_state=0, **params)


def r2(model, X):
    """Mean over columns of the share of variance that the model rebuilds of its own rows."""
    return r2_score(X, model.inverse_transform(model.transform(X)))


def factor_rows(rng, n, D, rank=3, noise=0.7, loadings=None):
    """Rows of so many factors and noise, with the loadings, which can be given for more rows."""
    if loadings is None:
        loadings = rng.standard_normal((rank, D))
    rows = rng.standard_normal((n, len(loadings))) @ loadings
    return rows + noise * rng.standard_normal((n, D)), loadings


def beside_pca(model, X, new):
    """Score of a fitted model and of PCA on fresh rows."""
    d = model.n_components
    yield "score", model.score(new)
    yield "  PCA", PCA(d).fit(X).score(new)


def on_own_rows(model, X):
    """Score of a fitted model on its own rows, and what it is held against."""
    yield "score, own rows", model.score(X)
    start, scale = start_score(X, model.n_components)
    yield "  start", start
    yield "  PCA, floored", linear_score(X, model.n_components, "gaussian", scale)


# --- a: as many components as rows --------------------------------------------------------------


def uniform_rows(n, D, d):
    """A situation of n uniform rows of D columns."""

    def figures(seed):
        X = np.random.RandomState(seed).rand(n, D)
        yield from on_own_rows(vae(d).fit(X), X)

    return figures


# --- b: columns that add up to 1 ----------------------------------------------------------------


def one_hot_rows(rng, n=300):
    """One factor of three levels as three columns."""
    return np.eye(3)[rng.randint(3, size=n)]


def one_hot_stream(seed):
    """Three one-hot columns, all rows twenty times over by `partial_fit`."""
    X = one_hot_rows(np.random.RandomState(seed))
    model = vae(2)
    for _ in range(20):
        model.partial_fit(X)
    yield from on_own_rows(model, X)


def one_hot_beside_normal(early_stopping):
    """A situation of three one-hot columns and three normal ones."""

    def figures(seed):
        rng = np.random.RandomState(seed)
        X = np.hstack([one_hot_rows(rng), rng.standard_normal((300, 3))])
        yield from on_own_rows(vae(5, early_stopping=early_stopping).fit(X), X)

    return figures


# --- c: rows that are not independent -----------------------------------------------------------


def repeated_rows(seed):
    """60 rows, each of them 8 times."""
    rng = np.random.RandomState(seed)
    X, loadings = factor_rows(rng, 60, 12)
    X, new = np.repeat(X, 8, axis=0), factor_rows(rng, N_NEW, 12, loadings=loadings)[0]
    yield from beside_pca(vae(3, standardize=False).fit(X), X, new)


def bootstrap(seed):
    """300 draws with replacement out of 300 rows."""
    rng = np.random.RandomState(seed)
    X, loadings = factor_rows(rng, 300, 12)
    X, new = X[rng.randint(300, size=300)], factor_rows(rng, N_NEW, 12, loadings=loadings)[0]
    yield from beside_pca(vae(3, standardize=False).fit(X), X, new)


def repeated_measurements(seed):
    """60 subjects, 8 rows of each that differ by 5 % of a column's spread; the fresh are others."""
    rng = np.random.RandomState(seed)
    subjects, loadings = factor_rows(rng, 60, 12)
    others = factor_rows(rng, N_NEW, 12, loadings=loadings)[0]
    error = 0.05 * subjects.std(axis=0)
    X = np.repeat(subjects, 8, axis=0)
    X, new = (rows + error * rng.standard_normal(rows.shape) for rows in (X, others))
    yield from beside_pca(vae(3, standardize=False).fit(X), X, new)


# --- d to g: counts, flat and curved tables, constants, fixed noise -------------------------------


def poisson_counts(seed):
    """60 rows of 10 Poisson counts of mean 50."""
    rng = np.random.RandomState(seed)
    X, new = (rng.poisson(50, size=(n, 10)).astype(float) for n in (60, 1000))
    model = vae(1, likelihood="negative_binomial").fit(X)
    yield "score, negative binomial", model.score(new)
    yield "score, Poisson", vae(1, likelihood="poisson").fit(X).score(new)
    yield "  independent Poisson", poisson_score(new, X.mean(0))
    yield "dispersion, least", model.dispersion_.min()
    yield "dispersion, greatest", model.dispersion_.max()


def normal_plane(seed):
    """400 rows of two independent normal columns, two components."""
    X = np.random.RandomState(seed).standard_normal((400, 2))
    yield "R2", r2(vae(2).fit(X), X)


def bimodal_column(seed):
    """400 rows of one column at -2 and 2, one component."""
    rng = np.random.RandomState(seed)
    X = rng.choice([-2, 2], size=(400, 1)) + 0.5 * rng.standard_normal((400, 1))
    yield "R2", r2(vae(1).fit(X), X)


def four_blobs(seed):
    """400 rows in four blobs at the corners of a square."""
    rng = np.random.RandomState(seed)
    corners = rng.choice([-2, 2], size=(400 + N_NEW, 2))
    X, new = np.split(corners + 0.5 * rng.standard_normal(corners.shape), [400])
    for d in (1, 2):
        yield f"score, d = {d}", vae(d).fit(X).score(new)
        yield f"  PCA, d = {d}", PCA(d).fit(X).score(new)
    yield "  mixture of 4", GaussianMixture(4, random_state=0).fit(X).score(new)


def iris():
    """As many components as columns."""
    X = load_iris().data
    yield "R2", r2(vae(4).fit(X), X)


def one_constant(seed):
    """A column that is 2019 throughout beside five normal ones."""
    X = np.random.RandomState(seed).standard_normal((300, 5))
    drawn = vae(2).fit(np.column_stack([np.full(300, 2019.0), X])).sample(1000, random_state=0)
    yield "least of 1000 draws of 2019", drawn[:, 0].min()
    yield "greatest", drawn[:, 0].max()


def many_constants(seed):
    """40 constant columns beside five correlated ones."""
    X, _ = factor_rows(np.random.RandomState(seed), 300, 5, rank=2)
    both = vae(2).fit(np.hstack([X, np.ones((300, 40))])).noise_variance_[:5]
    yield "noise relative to that without", (both / vae(2).fit(X).noise_variance_).mean()


def fixed_noise(seed):
    """No KL and noise of variance 1 in X's units: 400 x 80 values that differ by 0.0012."""
    X, _ = factor_rows(np.random.RandomState(seed), 400, 80, rank=5, noise=0)
    X = 1.109 + 0.0012 * X / X.std(axis=0)
    parts = {"objective": ELBO(beta=0), "likelihood": Gaussian(noise_variance=1.0)}
    for title, factor in (("", 1), (", values x 1000", 1000), (", values / 1000", 1e-3)):
        model = vae(5, **parts).fit(factor * X)
        yield "R2" + title, r2(model, factor * X)
        yield "epochs" + title, model.n_iter_
    yield "  R2 of PCA", r2(PCA(5).fit(X), X)


# --- h to k: the order of components, streams, time, far rows -------------------------------------


def wine():
    """What the first and the last components tell of the class."""
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = vae(6).fit(X)
    for i, kl in enumerate(model.kl_per_component_):
        yield f"KL of component {i}", kl
    for title, Z in (("", model.transform(X)), (", PCA", PCA(6).fit_transform(X))):
        for which, columns in (("first", slice(2)), ("last", slice(-2, None))):
            accuracy = cross_val_score(KNeighborsClassifier(5), Z[:, columns], y, cv=5).mean()
            yield f"accuracy, {which} two{title}", accuracy


def first_block(seed):
    """Ten blocks of 100 rows, one of them off centre: first in the stream, or second."""
    rng = np.random.RandomState(seed)
    blocks = np.split(factor_rows(rng, 1000, 10)[0], 10)
    blocks[0] = 3 + 0.7 * blocks[0]
    X = np.vstack(blocks)
    for title, order in (("first", range(10)), ("second", (1, 0, *range(2, 10)))):
        model = vae(3)
        for block in 5 * [blocks[i] for i in order]:
            model.partial_fit(block)
        yield f"score, own rows, off centre {title}", model.score(X)
    yield "  PCA", PCA(3).fit(X).score(X)


def one_row(seed):
    """Time of `transform` for a single row."""
    X, _ = factor_rows(np.random.RandomState(seed), 300, 10)
    for title, model in (("ms", vae(2)), ("  PCA, ms", PCA(2))):
        model.fit(X)
        times = []
        for _ in range(300):
            start = time.perf_counter()
            model.transform(X[:1])
            times.append(time.perf_counter() - start)
        yield title, 1e3 * np.median(times)


def far_row(seed):
    """A row of 1e200."""
    X, _ = factor_rows(np.random.RandomState(seed), 300, 5)
    yield "score_samples", vae(2).fit(X).score_samples(np.full((1, 5), 1e200))[0]


SITUATIONS = {
    "a_5x100": uniform_rows(5, 100, 4),
    "a_15x40": uniform_rows(15, 40, 14),
    "a_2x4": uniform_rows(2, 4, 2),
    "b_stream": one_hot_stream,
    "b_mixed": one_hot_beside_normal("auto"),
    "b_mixed_all_rows": one_hot_beside_normal(False),
    "c_repeated": repeated_rows,
    "c_bootstrap": bootstrap,
    "c_measurements": repeated_measurements,
    "d_counts": poisson_counts,
    "e_normal": normal_plane,
    "e_bimodal": bimodal_column,
    "e_blobs": four_blobs,
    "e_iris": iris,
    "f_one_constant": one_constant,
    "f_40_constants": many_constants,
    "g_fixed_noise": fixed_noise,
    "h_wine": wine,
    "i_first_block": first_block,
    "j_one_row": one_row,
    "k_far_row": far_row,
}
GIVEN = (iris, wine)  # their data are not drawn


def observed(figures):
    """The figures of one draw: those before an exception, the exception, the warnings."""
    values, failure = {}, ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for name, value in figures:
                values[name] = value
        except Exception as error:
            failure = first_line(error)
    return values, failure, Counter(w.category.__name__ for w in caught)


def shown(value):
    """A figure in 14 places."""
    if isinstance(value, str):
        return f"{value:>14}"
    plain = value == 0 or 1e-3 <= abs(value) < 1e6
    return format(float(value), "14.4f" if plain else "14.3e")


def lines_of(name, situation):
    """What one situation gives, figure by figure."""
    draws = [situation()] if situation in GIVEN else [situation(seed) for seed in SEEDS]
    results = [observed(draw) for draw in draws]
    names = dict.fromkeys(figure for values, _, _ in results for figure in values)
    lines = []
    for figure in names or [""]:
        columns = "".join(shown(values.get(figure, "-")) for values, _, _ in results)
        lines.append(f"{name:18}{figure:36}{columns}")
    for seed, (_, failure, said) in zip(SEEDS, results, strict=False):
        if failure:
            lines.append(f"{'':18}draw {seed}: {failure}")
        if said:
            told = ", ".join(f"{count} {category}" for category, count in sorted(said.items()))
            lines.append(f"{'':18}draw {seed}: {told}")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help=f"beginnings of {', '.join(SITUATIONS)}")
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [name for name in SITUATIONS if name.startswith(tuple(options.only or [""]))]
    words = ["faults.py", *(["--only", *options.only] if options.only else [])]
    packages = ("torch", "scikit-learn", "numpy")
    lines = [*heading(shlex.join(words), packages, "random_state=0, seeds of the data 0, 1, 2"), ""]
    for name in chosen:
        lines += lines_of(name, SITUATIONS[name])
    publish(lines, options.out)


if __name__ == "__main__":
    main()
