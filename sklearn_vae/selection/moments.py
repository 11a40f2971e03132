r"""What a stream of rows leaves behind: enough for a linear model of all, and none of the rows.

Two sets of rows with n_a and n_b rows, means m_a, m_b and covariances C_a, C_b have together, with
n = n_a + n_b and v = m_b - m_a,

    m = m_a + v n_b / n,   C = (n_a C_a + n_b C_b) / n + v v^T n_a n_b / n^2

(Chan, Golub & LeVeque 1983).
"""

from typing import NamedTuple

import numpy as np

MOST_FEATURES = 1000  # whose covariance is kept


class Moments(NamedTuple):
    """Moments of rows x.

    Attributes
    ----------
    n : float
        How many rows, or the sum of their weights.
    mean : ndarray of shape (n_features,)
    covariance : ndarray of shape (n_features, n_features)

    mean_log : ndarray of shape (n_features,)
        Mean of log(1 + x), 0 for negative x.
    lowest, highest : ndarray of shape (n_features,)
        The range of values.
    """

    n: float
    mean: np.ndarray
    covariance: np.ndarray
    mean_log: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, weight: np.ndarray | None = None) -> "Moments":
        """Those of the rows of X (n, n_features), by weight (n,)."""
        X, D = np.asarray(X, dtype=np.float64), X.shape[1]
        covariance = np.cov(X, rowvar=False, bias=True, aweights=weight).reshape(D, D)
        mean_log = np.average(np.log1p(np.maximum(X, 0)), axis=0, weights=weight)
        mean = np.average(X, axis=0, weights=weight)
        n = len(X) if weight is None else weight.sum()
        return cls(n, mean, covariance, mean_log, X.min(axis=0), X.max(axis=0))

    def with_rows(self, X: np.ndarray, weight: np.ndarray | None = None) -> "Moments":
        """Those of the rows so far and of X (n, n_features), by weight (n,)."""
        new = Moments.of(X, weight)
        n, v = self.n + new.n, new.mean - self.mean
        share = new.n / n
        return Moments(
            n,
            self.mean + share * v,
            (1 - share) * self.covariance
            + share * new.covariance
            + share * (1 - share) * np.outer(v, v),
            (1 - share) * self.mean_log + share * new.mean_log,
            np.minimum(self.lowest, new.lowest),
            np.maximum(self.highest, new.highest),
        )

    def scaled(self, mean: np.ndarray, scale: np.ndarray) -> "Moments":
        """Those of (x - mean) / scale, without features of scale 0."""
        varies = scale > 0
        mean, scale = mean[varies], scale[varies]
        lowest, highest = ((bound[varies] - mean) / scale for bound in (self.lowest, self.highest))
        covariance = self.covariance[np.ix_(varies, varies)] / np.outer(scale, scale)
        return Moments(
            self.n,
            (self.mean[varies] - mean) / scale,
            covariance,
            self.mean_log[varies],
            lowest,
            highest,
        )

    def rows_alike(self) -> np.ndarray:
        """Rows of this mean and covariance, (2 n_features, n_features).

        Any linear model is found from them alike. They stand on the axes of the covariance, two on
        each, and none is a row of the data.
        """
        values, vectors = np.linalg.eigh(self.covariance)
        axes = vectors.T * np.sqrt(np.maximum(values, 0) * len(values))[:, None]
        return self.mean + np.vstack([axes, -axes])
