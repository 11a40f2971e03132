"""Which rows are held out, and whether they are independent of the rows that are trained on.

The held-out rows choose the start, the end and the noise of a fit, so they must tell something new.
Two kinds of rows do not: copies of training rows, and near relatives of them.

* **Copies** become one row that counts as many times (`merged`). In a table of categories or counts
  equal rows are no copies but the same answer given twice. There no column is nearly as varied as
  the rows.
* **Relatives** (repeated measurements of one subject) need `groups`. `jump` looks for them
  all the same. Let r_k be the distance from a held-out row to its k-th nearest training row. Where
  n independent rows have a density of dimension m, m log r_k has the mean psi(k) + const, so the
  slope of log r_k over psi(k) is 1 / m at every k. Where each row has g relatives the distances
  jump between k = g and k = 2 g, and the slope there is many times that elsewhere.
"""

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.special import digamma
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import _safe_indexing, check_consistent_length, column_or_1d

from ..selection import plainly_fitted
from ..training import thinned
from .data import chunks, some_rows

ENOUGH_TO_JUDGE, FEWEST_TO_JUDGE = 30, 5  # rows held out by early_stopping="auto"
AS_VARIED = 0.9  # distinct values of a column per distinct row, from which on equal rows are copies
EXAMINED = 5000  # distinct rows, at most, in which values are counted
NEIGHBOURS = 2 ** np.arange(6)
QUERIES, LARGEST = (
    300,
    100_000,
)  # held-out rows that are asked for their neighbours; training rows, at most
JUMP = 3.0  # of the slope, from which on rows are called related


def split(n, early_stopping, validation_fraction, seed, groups=None):
    """Rows to train on, and rows held out (None if none are).

    Parameters
    ----------
    n : int
        Number of rows.
    early_stopping : bool or "auto"
    validation_fraction : float
    seed : int
    groups : ndarray of shape (n,), optional
        Labels; rows of one label stay together.

    Raises
    ------
    ValueError
        If too few rows are left to train on, or a single group has too many rows to be held out.
    """
    n_valid = int(np.ceil(validation_fraction * n))
    if early_stopping == "auto":
        n_valid = max(n_valid, min(ENOUGH_TO_JUDGE, n // 4))
        early_stopping = n_valid >= FEWEST_TO_JUDGE and "auto"
    if not early_stopping:
        return np.arange(n), None
    if n - n_valid < 2:
        raise ValueError(
            f"early_stopping holds out {n_valid} of n_samples = {n} "
            f"(validation_fraction={validation_fraction}), which leaves fewer than 2 to train on. "
            "Give more samples, or set early_stopping=False."
        )
    # Tables are often sorted, by class or by time.
    order = np.random.RandomState(seed).permutation(n)
    if groups is None:
        return order[n_valid:], order[:n_valid]
    held_out = _whole_groups(groups[order], n_valid)
    if held_out.any():
        return order[~held_out], order[held_out]
    if early_stopping == "auto":
        return np.arange(n), None
    raise ValueError(
        f"early_stopping holds out whole groups of rows, but the {len(np.unique(groups))} "
        f"group(s) given have too many rows each: about {n_valid} of n_samples = {n} are to be "
        "held out and at most half. Give smaller groups, rows of their own as X_val, or set "
        "early_stopping=False."
    )


def _whole_groups(labels, n_valid):
    """A mask of whole groups, in the order in which they come.

    Of `n_valid` rows or a few more; at most half.
    """
    _, first, inverse, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    taken, n_taken = [], 0
    for group in np.argsort(first):
        if n_taken >= n_valid:
            break
        if n_taken + sizes[group] <= len(labels) // 2:
            taken.append(group)
            n_taken += sizes[group]
    return np.isin(inverse, taken)


def split_by(splitter, X, y, groups):
    """The last split of a scikit-learn splitter.

    With `TimeSeriesSplit` the one that holds out the latest rows.
    """
    *_, (train, valid) = splitter.split(X, y, groups)
    if len(train) < 2 or len(valid) < 1:
        raise ValueError(
            f"early_stopping={splitter!r} leaves {len(train)} rows to train on and {len(valid)} "
            "held out; at least 2 and 1 are needed."
        )
    return np.asarray(train), np.asarray(valid)


def check_groups(groups, X):
    """Labels of groups as integers, or None."""
    if groups is None:
        return None
    groups = column_or_1d(groups)
    check_consistent_length(X, groups)
    return np.unique(groups, return_inverse=True)[1]


def counted(X, weight, device, *others, least=1):
    """Rows of a weight above 0: a row of weight 0 is as good as absent.

    Parameters
    ----------
    X : ndarray, or rows that are not in memory, of shape (n, n_features)
    weight : ndarray of shape (n,) or None
    device : torch.device
    *others : array-like of shape (n,) or None
        What else is known of each row.

    least : int, default=1
        How many rows have to be left.

    Returns
    -------
    X : as it was, or `SomeRows`
    weight : ndarray or None
        None where each of them counts 1.
    *others : as they were

    Raises
    ------
    ValueError
        If fewer rows are left.
    """
    check_consistent_length(X, *others)
    if weight is None:
        return X, None, *others
    rows = np.flatnonzero(weight)
    if len(rows) < least:
        raise ValueError(
            f"sample_weight leaves {len(rows)} row of a weight above 0; at least {least} are "
            "needed. Give more rows, or other weights."
        )
    if len(rows) < len(weight):
        X, weight = some_rows(X, rows, device), weight[rows]
        others = [None if other is None else _safe_indexing(other, rows) for other in others]
    return X, None if (weight == 1).all() else weight, *others


def merged(X, weight=None):
    """Rows without copies, and how much each counts.

    Where there are copies or weights the rows come sorted, so that a row of weight 2 and two copies
    of it are the same table.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    weight : ndarray of shape (n,), optional
        All above 0.

    Returns
    -------
    X : ndarray of shape (n_distinct, n_features)
    weight : ndarray of shape (n_distinct,) or None
    """
    labels = copies(X)
    if labels is None:
        if weight is None:
            return X, None
        labels = np.arange(len(X))
    first = np.unique(labels, return_index=True)[1]
    total = np.bincount(labels, weights=weight)
    order = first[np.lexsort(X[first].T)]
    total = total[labels[order]]
    return X[order], None if (total == total[0]).all() else total


def copies(X):
    """Labels that are equal for copies of a row, or None where there are no copies.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    """
    # Equal rows have equal projections, and others almost surely do not.
    direction, missing = np.random.RandomState(0).standard_normal((2, X.shape[1]))
    keys = np.empty(len(X))
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in chunks(X):
            values = np.where(np.isnan(X[rows]), missing, X[rows])
            keys[rows] = (values * direction).sum(axis=1)
    _, first, labels = np.unique(keys, return_index=True, return_inverse=True, equal_nan=False)
    if len(first) == len(X) or X.shape[1] < 2:
        return None
    distinct = X[np.sort(thinned(first, EXAMINED))]
    if len(first) < FEWEST_TO_JUDGE:  # too few to tell integers from a code
        distinct = distinct[:, (distinct != np.round(distinct)).any(axis=0)]
    return labels if any(map(_is_varied, distinct.T)) else None


def _is_varied(column):
    """Whether nearly every value of a column, but those that are missing, is another one."""
    known = column[~np.isnan(column)]
    return len(known) > 0 and len(np.unique(known)) >= AS_VARIED * len(known)


def jump(x, x_valid):
    """By how much the slope of log r_k jumps, and the distance at which it does.

    Parameters
    ----------
    x, x_valid : ndarray of shape (n, n_features) and (n_valid, n_features)
        Rows to train on and rows held out.

    Returns
    -------
    jump : float
        The largest slope over the median one; 1 where there are too few rows to tell.
    distance : float
        Between the relatives' and the others'.
    """
    ks, queries = NEIGHBOURS[len(x) / 4 > NEIGHBOURS], thinned(x_valid, QUERIES)
    if len(ks) < 4 or len(x) > LARGEST:
        return 1.0, 0.0
    distances = plainly_fitted(NearestNeighbors(n_neighbors=ks[-1]), x).kneighbors(queries)[0][
        :, ks - 1
    ]
    logs = np.log(
        distances[distances[:, 0] > 1e-6 * x.shape[1] ** 0.5]
    )  # equal rows are for `copies`
    if len(logs) < ENOUGH_TO_JUDGE // 2:
        return 1.0, 0.0
    slopes = np.diff(logs.mean(axis=0)) / np.diff(digamma(ks))
    at, usual = slopes.argmax(), np.median(slopes)
    return slopes[at] / usual if usual > 0 else 1.0, np.exp(np.median(logs[:, at : at + 2]))


def linked(x, distance):
    """Labels of the rows that a chain of steps shorter than `distance` joins."""
    neighbours = plainly_fitted(NearestNeighbors(), x)
    return connected_components(neighbours.radius_neighbors_graph(radius=distance), directed=False)[
        1
    ]
