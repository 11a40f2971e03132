"""Data on their way in: what the likelihood allows, the units of the net, the rows held out, the seeds."""

import warnings

import numpy as np
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, gen_batches

ENOUGH_TO_JUDGE, FEWEST_TO_JUDGE = 10, 5  # rows held out by early_stopping="auto"
CHUNK = 2**22  # numbers held at once, per layer, wherever rows are gone through in chunks


def chunks(X, width=1):
    """Slices of the rows of X of bounded size, where a row takes `width` numbers or its own."""
    return gen_batches(len(X), max(1, CHUNK // max(width, X.shape[1])))


def check_support(X, name, likelihood, feature_names):
    """Refuse values that the likelihood gives no probability.

    Raises
    ------
    ValueError
        Naming the column, the row, the value and the remedy.
    """
    for rows in chunks(X):
        bad = ~likelihood.supports(X[rows])
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ValueError(
                f"likelihood={name!r} takes values in {likelihood.support}, but column {feature_names[column]!r} of X "
                f"has {X[rows][row, column]} in row {rows.start + row} ({bad.any(0).sum()} columns do not fit): "
                f"{likelihood.remedy}."
            )


def scale_of(X, standardize):
    """Mean and scale of each feature; 0 and 1 where they are not to be touched."""
    if not standardize:
        return np.zeros(X.shape[1]), np.ones(X.shape[1])
    with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        scaler = StandardScaler()
        for rows in chunks(X):
            scaler.partial_fit(X[rows])
    return scaler.mean_, scaler.scale_


def scaled(X, mean, scale, dtype):
    """(X - mean) / scale, in float64 until the last."""
    with np.errstate(over="ignore", invalid="ignore"):
        return ((X - mean) / scale).astype(dtype, copy=False)


def rows_for_net(X, rows, mean, scale, feature_names):
    """Rows of X as the net is trained on them: scaled, float32.

    Raises
    ------
    ValueError
        If a column overflows.
    """
    out = np.empty((len(rows), X.shape[1]), dtype=np.float32)
    for chunk in chunks(out):
        out[chunk] = scaled(X[rows[chunk]], mean, scale, np.float32)
    overflow = ~np.isfinite(out).all(axis=0)
    if overflow.any():
        raise ValueError(
            f"Column {feature_names[np.flatnonzero(overflow)[0]]!r} of X has values too large for dtype('float32'), "
            "in which the net is trained. Take its logarithm, or divide it by a constant."
        )
    return out


def split(n, early_stopping, validation_fraction, seed):
    """Rows to train on, and rows held out (None if none are)."""
    n_valid = int(np.ceil(validation_fraction * n))
    if early_stopping == "auto":
        n_valid = max(n_valid, min(ENOUGH_TO_JUDGE, n // 4))
        early_stopping = n_valid >= FEWEST_TO_JUDGE
    if not early_stopping:
        return np.arange(n), None
    if n - n_valid < 2:
        raise ValueError(
            f"early_stopping holds out {n_valid} of n_samples = {n} (validation_fraction={validation_fraction}), "
            "which leaves fewer than 2 to train on. Give more samples, or set early_stopping=False."
        )
    order = np.random.RandomState(seed).permutation(n)
    return order[n_valid:], order[:n_valid]


def seed_from(random_state):
    """A seed; None asks the operating system and leaves NumPy's global stream alone."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))
