"""Toy data whose answer is known."""

import numpy as np
from sklearn.utils import check_random_state


def make_sine_sum(n_samples=1000, noise=0.0, random_state=None, *, surface=False):
    """Points (x, y) of the plane with target sin(x + y).

    x and y are uniform on [-pi, pi]. With ``surface=True`` the target becomes a third column. The
    result is a curved surface of two dimensions in three. Its linear spectrum is flat, so no linear
    projection keeps more of it than another.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of points.

    noise : float, default=0.0
        Standard deviation of the Gaussian noise on the target.

    random_state : int, RandomState instance or None, default=None
        Determines the points and the noise.

    surface : bool, default=False
        Whether to return the three columns (x, y, sin(x + y)).

    Returns
    -------
    X : ndarray of shape (n_samples, 2), or (n_samples, 3) if `surface`
        The points.
    y : ndarray of shape (n_samples,)
        The target sin(x + y) + noise; not returned if `surface`.

    Examples
    --------
    >>> from sklearn_vae.datasets import make_sine_sum
    >>> X, y = make_sine_sum(5, random_state=0)
    >>> X.shape, y.shape
    ((5, 2), (5,))
    >>> make_sine_sum(5, random_state=0, surface=True).shape
    (5, 3)
    """
    rng = check_random_state(random_state)
    X = rng.uniform(-np.pi, np.pi, size=(n_samples, 2))
    y = np.sin(X.sum(axis=1)) + noise * rng.standard_normal(n_samples)
    return np.column_stack([X, y]) if surface else (X, y)
