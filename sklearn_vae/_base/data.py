"""Data on their way in: what the likelihood allows, the net's units, what stays on disk, seeds."""

import math
import warnings
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight

from ..batch import Batch
from ..likelihoods import Columns
from ..training import one_blas_thread, one_thread_after_fork, threads

IN_MEMORY = 2**30  # bytes of a memory map that are loaded rather than read again each epoch
SMALL = 2**21  # numbers of a sparse table that may as well be dense
SAMPLED = 2**22  # numbers of rows on disk that are read at once, where some rows do
WORTH_THREADS = 2**18  # numbers of a table of which a fit may take several threads throughout
WORTH_BLAS_THREADS = 2**22  # and in which those of NumPy and SciPy may be several
CHUNK = 2**21  # numbers held at once, per layer, wherever rows are gone through in chunks


def chunks(X, width=1, most=None):
    """Slices of the rows of X, of at most so many numbers; a row takes `width` or its own.

    scikit-learn's `gen_batches` validates its arguments, which takes longer than a row does.
    """
    size = max(1, (most or CHUNK) // max(width, X.shape[1]))
    return (slice(start, start + size) for start in range(0, len(X), size))


@contextmanager
def few_threads(X):
    """A context in which torch, NumPy and SciPy compute in one thread each, if X is small.

    On a busy machine threads wait for one another for longer than anything in such a fit takes.
    """
    one_thread_after_fork()
    size = math.prod(getattr(X, "shape", ()))
    with ExitStack() as contexts:
        if size < WORTH_THREADS:
            contexts.enter_context(threads(1))
        if size < WORTH_BLAS_THREADS:
            contexts.enter_context(one_blas_thread())
        yield


def is_narrow(X):
    """Whether X is an array of integers, booleans or half floats."""
    return isinstance(X, np.ndarray) and (X.dtype.kind in "uib" or X.dtype == np.float16)


def float_dtype(X):
    """In which precision rows of X are evaluated."""
    return np.float32 if X.dtype == np.float32 else np.float64


def check_support(X, name, likelihood, feature_names):
    """Refuse values that the likelihood gives no probability.

    Raises
    ------
    ValueError
        Naming the column, the row, the value and the remedy.
    """
    for rows in chunks(X):
        block = X[rows]
        bad = ~likelihood.supports(block) & ~np.isnan(block)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ValueError(
                f"likelihood={name!r} takes values in {likelihood.support}, but column "
                f"{feature_names[column]!r} of X has {block[row, column]} in row "
                f"{rows.start + row} ({bad.any(0).sum()} columns do not fit): {likelihood.remedy}."
            )


def columns_of(X, weight=None):
    """Each column's mean, variance and range of values.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    weight : ndarray of shape (n,), optional

    Returns
    -------
    Columns
    """
    with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        scaler, bounds = StandardScaler(), np.full((2, X.shape[1]), np.nan)
        for rows in chunks(X):
            x = X[rows]
            scaler.partial_fit(x, sample_weight=None if weight is None else weight[rows])
            bounds = widened(bounds, x)
    return Columns(scaler.mean_, scaler.var_, *bounds)


def widened(bounds, x):
    """Bounds of columns, (n_features,) each, widened to rows x; NaN where no value is known."""
    lowest, highest = bounds
    return np.fmin(lowest, np.fmin.reduce(x, axis=0)), np.fmax(highest, np.fmax.reduce(x, axis=0))


def rows_at_once(X):
    """How many rows of a table that is not in memory are read at once."""
    return max(1000, SAMPLED // X.shape[1])


def has_missing(X):
    """Whether any value of X is NaN: a pass over X, so a fit asks once."""
    return X.dtype.kind == "f" and any(np.isnan(X[rows]).any() for rows in chunks(X))


def scaled(X, mean, scale, dtype):
    """(X - mean) / scale without the columns of scale 0.

    In float64 until the last, or in float32 where X is and its means are small enough.
    """
    varies = scale > 0
    if not varies.all():
        X, mean, scale = X[:, varies], mean[varies], scale[varies]
    if X.dtype == dtype == np.float32 and (np.abs(mean) <= 100 * scale).all():
        mean, scale = mean.astype(dtype), scale.astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        out = X - mean
        out /= scale
        return out.astype(dtype, copy=False)


def unscaled(x, mean, scale):
    """The inverse of `scaled`; columns of scale 0 are given their mean."""
    varies = scale > 0
    if varies.all():
        return x * scale + mean
    X = np.tile(mean, (len(x), 1))
    X[:, varies] += x * scale[varies]
    return X


def check_weight(sample_weight, X):
    """Weights of rows as an array of shape (n,), or None where none are given.

    Raises
    ------
    ValueError
        If they are negative, all 0, not finite, or of the wrong length.
    """
    if sample_weight is None:
        return None
    return _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)


def rows_for_net(X, rows, mean, scale, feature_names, fill=None):
    """Rows of X as the net is trained on them: scaled, float32.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    rows : ndarray of shape (n,)
        Indices.
    mean, scale : ndarray of shape (n_features,)
    feature_names : sequence of str

    fill : callable, optional
        What fills missing values of rows that are scaled.

    Returns
    -------
    x : ndarray of shape (n, n_kept)
    observed : ndarray of shape (n, n_kept) or None
        1 where there was a value and 0 elsewhere; None without `fill`.

    Raises
    ------
    ValueError
        If a column overflows.
    """
    varies = np.flatnonzero(scale > 0)
    out = np.empty((len(rows), len(varies)), dtype=np.float32)
    observed = None if fill is None else np.empty_like(out)
    for chunk in chunks(out):
        part = scaled(X[rows[chunk]], mean, scale, np.float32 if fill is None else np.float64)
        if fill is not None:
            observed[chunk] = ~np.isnan(part)
            part = fill(part)
        out[chunk] = part
    overflow = ~(np.isfinite(out).all(axis=0) & np.isfinite(scale[varies]))
    if overflow.any():
        name = feature_names[varies[np.flatnonzero(overflow)[0]]]
        raise ValueError(
            f"Column {name!r} of X has values too large for dtype('float32'), in which the net is "
            "trained. Take its logarithm, or divide it by a constant."
        )
    return out, observed


def rows_on_device(X, rows, mean, scale, feature_names, device, fill=None, weight=None):
    """`rows_for_net` as a batch on a device, with the weights of those rows."""

    def moved(field):
        field = torch.from_numpy(field)
        if device.type == "cuda":
            return field.pin_memory().to(device, non_blocking=True)
        return field.to(device)

    x, observed = rows_for_net(X, rows, mean, scale, feature_names, fill)
    weight = None if weight is None else weight[rows].astype(np.float32)
    return Batch(*(None if field is None else moved(field) for field in (x, observed, weight)))


class SparseRows:
    """A sparse matrix whose rows are dense arrays when they are asked for.

    Parameters
    ----------
    X : sparse matrix or array of shape (n_samples, n_features)
        In CSR format.
    """

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype
        self.size = X.shape[0] * X.shape[1]
        self.most_at_once = rows_at_once(X)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return self.X[rows].toarray()


def rows_of_sparse(X):
    """A sparse matrix as a dense array if it is small, else as `SparseRows`."""
    return X.toarray() if X.shape[0] * X.shape[1] <= SMALL else SparseRows(X)


class SomeRows:
    """Some rows of a table that is too large to be copied; arrays when they are asked for.

    Parameters
    ----------
    X : ndarray or SparseRows of shape (n_samples, n_features)
    rows : ndarray of shape (n,)
        Their indices.
    """

    def __init__(self, X, rows):
        self.X, self.rows, self.dtype = X, rows, X.dtype
        self.shape, self.size = (len(rows), X.shape[1]), len(rows) * X.shape[1]
        self.most_at_once = rows_at_once(X)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        return self.X[self.rows[index]]


def some_rows(X, rows, device):
    """Rows of X by their indices, without a copy where X is too large for one."""
    return SomeRows(X, rows) if is_too_large(X, device) else X[rows]


class RowsOnDisk:
    """Rows of an array not to be held in memory, scaled and sent to the device when asked for.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        A memory map, or data that do not fit on the device.

    rows : ndarray of shape (n,)
        Indices of the rows that this stands for.

    mean, scale : ndarray of shape (n_features,)
    feature_names : sequence of str
    device : torch.device
    fill : callable, optional
        What fills missing values.
    weight : ndarray of shape (n_samples,), optional
    """

    block = 4096

    def __init__(self, X, rows, mean, scale, feature_names, device, fill=None, weight=None):
        # Sorted, so that a block of rows is nearly one piece of the file.
        self.X, self.rows = X, np.sort(rows)
        self.how = mean, scale, feature_names, device, fill, weight
        self.is_complete = fill is None
        self.most_at_once = rows_at_once(X)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        rows = self.rows[index.numpy() if isinstance(index, torch.Tensor) else index]
        return rows_on_device(self.X, rows, *self.how)


def is_too_large(X, device):
    """Whether a float32 copy of X is to be avoided.

    Where it is more than fits on the GPU, or X is a large memory map.
    """
    if isinstance(X, (SparseRows, SomeRows)):
        return True
    size = 4 * X.size
    if device.type == "cuda" and size > 0.8 * torch.cuda.mem_get_info(device)[0]:
        return True
    while isinstance(X, np.ndarray):
        if isinstance(X, np.memmap):
            return size > IN_MEMORY
        X = X.base
    return False


def seed_from(random_state):
    """A seed; None asks the operating system and leaves NumPy's global stream alone."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))
