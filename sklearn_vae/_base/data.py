"""Data on their way in: what the likelihood allows, the net's units, what stays on disk, the rows held out, seeds."""

import warnings

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, gen_batches

ENOUGH_TO_JUDGE, FEWEST_TO_JUDGE = 30, 5  # rows held out by early_stopping="auto"
IN_MEMORY = 2**30  # bytes of a memory map that are loaded rather than read again each epoch
CHUNK = 2**21  # numbers held at once, per layer, wherever rows are gone through in chunks


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
    """(X - mean) / scale, in float64 until the last, or in float32 where X is and its means are small enough."""
    if X.dtype == dtype == np.float32 and (np.abs(mean) <= 100 * scale).all():
        mean, scale = mean.astype(dtype), scale.astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        out = X - mean
        out /= scale
        return out.astype(dtype, copy=False)


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


class RowsOnDisk:
    """Rows of an array that is not to be held in memory, scaled and sent to the device as they are asked for.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        A memory map, or data that do not fit on the device.
    rows : ndarray of shape (n,)
        Indices of the rows that this stands for.
    mean, scale : ndarray of shape (n_features,)
    feature_names : sequence of str
    device : torch.device
    """

    block = 4096

    def __init__(self, X, rows, mean, scale, feature_names, device):
        # Sorted, so that a block of rows is nearly one piece of the file.
        self.X, self.rows, self.device = X, np.sort(rows), device
        self.scaling = mean, scale, feature_names

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        rows = self.rows[index.numpy() if isinstance(index, torch.Tensor) else index]
        x = torch.from_numpy(rows_for_net(self.X, rows, *self.scaling))
        return x.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else x.to(self.device)


def is_too_large(X, device):
    """Whether a float32 copy of X is to be avoided: more than fits on the GPU, or a large memory map."""
    size = 4 * X.size
    if device.type == "cuda" and size > 0.8 * torch.cuda.mem_get_info(device)[0]:
        return True
    while isinstance(X, np.ndarray):
        if isinstance(X, np.memmap):
            return size > IN_MEMORY
        X = X.base
    return False


def thinned(x, n):
    """Every k-th row of x, about n of them at most."""
    return x[:: -(-len(x) // n)]


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
    # Tables are often sorted, by class or by time.
    order = np.random.RandomState(seed).permutation(n)
    return order[n_valid:], order[:n_valid]


def seed_from(random_state):
    """A seed; None asks the operating system and leaves NumPy's global stream alone."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))
