r"""What PCA and factor analysis tell of their components, for a model that is curved.

The model rebuilds a row x as f(z), the mean of p(x | z) at the posterior mean z of the row. A
category counts as the indicators of its levels, whose means are its probabilities.

**Loadings.** In a linear model f(z) = b + B^T z, and B (d, n_columns) holds the loadings. Elsewhere
B is the mean over rows of the derivatives of f. They are found by central differences, so a decoder
needs no derivatives of its own.

**Shares of variance.** Let f_S(z) be the partial dependence of f on a set S of components: the mean
of f over rows whose components outside S are those of other rows (Friedman 2001). With x_bar the
mean of the rows, and ||.|| in the units of the net,

    R^2(S) = 1 - sum_i ||x_i - f_S(z_i)||^2 / sum_i ||x_i - x_bar||^2,   R^2({}) = 0.

Let the components be numbered by the nats that they tell, most first: the mean over rows of their
marginal KL, 1/2 (mu_j^2 + (L L^T)_jj - log (L L^T)_jj - 1). The share of component k is what R^2
gains by k, on average over two orders: when k joins all before it, and when k joins all after it,

    1/2 [R^2({1..k}) - R^2({1..k-1})] + 1/2 [R^2({k..d}) - R^2({k+1..d})].

So the shares add up to the R^2 of the reconstruction, whatever the order, and what two components
explain together is halved between them. As long as no three of them interact this is the Shapley
value. In probabilistic PCA with eigenvalues lambda_k and noise sigma^2, whose posterior mean is
shrunk by 1 - sigma^2 / lambda_k, it is lambda_k (1 - (sigma^2 / lambda_k)^2) / sum lambda. The
components are then put in decreasing order of their shares (`selection/order.py`). The gains in one
order alone need not decrease in any: of f = z_1 z_2 the first gains nothing and the second all.

f_S is found at some rows, for two other rows each. The square of the error that this brings is
known from their difference, and taken off. Over all rows f_S(z) is replaced by what the loadings
say, f(z) - sum_{j not in S} B_j (z_j - mean z_j), and the difference at some rows is added (the
difference estimator of sampling, Cochran 1977, chapter 7). Both are exact where f is linear.

**Covariance.** Cov x = Cov f(z) + E[Cov(x | z)] over the prior: B^T B + Psi in a linear model, and
over draws of the prior elsewhere. Between the indicators of two levels of one category, which
exclude each other, it is minus the product of their means.
"""

import numpy as np
from scipy.linalg import pinvh
from sklearn.utils.validation import check_is_fitted

from ..priors import StandardNormal
from ..selection import put_in_order
from ..training import every_kth
from .data import chunks

ACTIVE = 0.01  # variance of a component's posterior mean over the data (Burda et al. 2016)
DIAGNOSED = 10_000  # rows of X, and draws from the prior, at most
IN_A_BLOCK = 128  # rows of a block of a stream, at most
NUMBERS = 2**20  # in those rows and in those draws, at most
DECODED, FEWEST = 1024, 16  # B and f_S are found at up to 2 DECODED / d rows
OTHERS = 2  # other rows, for each of those
NEAR = 2**15  # numbers of rows that are gone through together
STEP = 1e-3  # of a central difference
TINY = 1e-300


class Loadings:
    """`components_`, `explained_variance_ratio_`, `get_covariance` and what belongs to them."""

    @property
    def n_components_(self):
        """The number of components."""
        return self.net_.module_.n_components

    @property
    def column_names_(self):
        """Names of the columns of `components_`, (n_columns,)."""
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])
        levels = [None if n == 1 else range(n) for n in self._levels()]
        if self._table is not None:
            levels = self._table["levels"]
        each = [
            [name] if own is None else [f"{name}_{level}" for level in own]
            for name, own in zip(names, levels, strict=True)
        ]
        return np.array([name for columns in each for name in columns], dtype=object)

    def get_covariance(self):
        """The covariance of x under the model.

        With a linear decoder and Gaussian noise it is B^T B + Psi, of the loadings ``components_``
        and the noise variances ``noise_variance_``, as in
        :class:`~sklearn.decomposition.FactorAnalysis`. Otherwise it is found over up to 10,000
        draws of z from the prior, the same each time.

        Returns
        -------
        covariance : ndarray of shape (n_columns, n_columns)
            In X's squared units, for the columns of ``components_``; 0 for a constant column.

        Raises
        ------
        NotImplementedError
            If the likelihood's distribution has no variance.
        """
        check_is_fitted(self)
        scale = self._scale_of_columns()
        return self._over_all_columns(self._covariance(*self._factored()), scale)

    def get_precision(self):
        """The inverse of the covariance of x under the model.

        Returns
        -------
        precision : ndarray of shape (n_columns, n_columns)
            The inverse of `get_covariance`, or its pseudo-inverse where a column is constant or the
            indicators of a category add up to 1.

        Raises
        ------
        NotImplementedError
            If the likelihood's distribution has no variance.
        """
        check_is_fitted(self)
        mean, factor, variance = self._factored()
        if len(factor) < len(variance) == (self.scale_ > 0).sum():
            # (Psi + F^T F)^-1 = Psi^-1 - Psi^-1 F^T (I + F Psi^-1 F^T)^-1 F Psi^-1
            weighed = factor / variance
            inner = np.eye(len(factor)) + weighed @ factor.T
            precision = np.diag(1 / variance) - weighed.T @ np.linalg.solve(inner, weighed)
        else:
            precision = pinvh(self._covariance(mean, factor, variance))
        scale = self._scale_of_columns()
        return self._over_all_columns(precision, 1 / scale)

    # --- inside: columns --------------------------------------------------------------------------

    def _levels(self):
        """How many columns each feature of X has, (n_features,)."""
        levels = np.ones(len(self.scale_), dtype=int)
        levels[self.scale_ > 0] = self.net_.module_.likelihood.levels
        return levels

    def _owner(self):
        """Which of the net's features each of its columns is of."""
        levels = self.net_.module_.likelihood.levels
        return np.repeat(np.arange(len(levels)), levels)

    def _scale_of_columns(self):
        return self.scale_[self.scale_ > 0][self._owner()]

    def _over_all_columns(self, matrix, scale):
        """A symmetric matrix over the net's columns, rescaled, as one over all columns of X."""
        matrix = self._with_constants(matrix * np.outer(scale, scale))
        return self._with_constants(matrix.T)

    def _with_constants(self, values):
        """Values of the net's columns as those of all columns of X, 0 where one is constant."""
        kept = np.repeat(self.scale_ > 0, self._levels())
        out = np.zeros((*values.shape[:-1], len(kept)))
        out[..., kept] = values
        return out

    def _decoded(self, z):
        """The mean of x given z (n, d) in the net's units, (n, n_columns)."""
        return self._evaluate(lambda net, z: net.likelihood.one_hot_mean(net.decode(z)), z)

    # --- inside: covariance -----------------------------------------------------------------------

    def _factored(self):
        """Mean m, factor F and variance v in the net's units, with Cov x = F^T F + diag(v)."""

        def of(module, z):
            likelihood, p = module.likelihood, module.decode(z)
            return {"m": likelihood.one_hot_mean(p), "v": likelihood.one_hot_variance(p)}

        module = self.net_.module_
        noise, d = module.likelihood.noise, module.n_components
        is_linear = module.decoder.is_linear and noise is not None and noise.is_constant
        if is_linear and isinstance(module.prior, StandardNormal):
            (mean, *ends), variance = self._evaluate(of, np.eye(d + 1, d, -1)).values()
            return mean, ends - mean, variance[0]
        n = min(DIAGNOSED, NUMBERS // len(self._owner()) + 1)
        z = module.prior.draw(n, np.random.RandomState(0))
        means, variance = self._evaluate(of, z).values()
        mean = means.mean(axis=0)
        return mean, (means - mean) / np.sqrt(n), variance.mean(axis=0)

    def _covariance(self, mean, factor, variance):
        """Cov x in the net's units."""
        covariance, owner = factor.T @ factor + np.diag(variance), self._owner()
        exclusive = (owner[:, None] == owner) & ~np.eye(len(owner), dtype=bool)
        return np.where(exclusive, -np.outer(mean, mean), covariance)

    # --- inside: at the end of a fit --------------------------------------------------------------

    def _diagnose(self, X, weight=None):
        """How much each component tells of a sample."""

        def of(module, rows):
            q = module.encode(rows)
            return {"kl": module.prior.kl_per_component(q), "mean": q.mean}

        rows = every_kth(X, DIAGNOSED)
        kl, mean = self._of_samples(of, X[rows]).values()
        weight = None if weight is None else weight[rows]
        self.kl_per_component_ = np.average(kl, axis=0, weights=weight)
        away = mean - np.average(mean, axis=0, weights=weight)
        spread = np.average(away**2, axis=0, weights=weight)
        order = np.argsort(-self.kl_per_component_, kind="stable")
        self.active_components_ = order[spread[order] > ACTIVE]
        self.n_active_components_ = len(self.active_components_)

    def _describe(self, X, weight=None, most=DIAGNOSED, is_new=True):
        """Find the loadings and the shares of variance by rows of X, `most` of them at most.

        The components of a new model are put in order. Where training goes on they stay as they
        were.
        """

        def of(module, rows):
            q = module.encode(rows)
            told = 0.5 * (q.mean.square() + q.variance - q.variance.log() - 1)
            return {"z": q.mean, "x": module.likelihood.one_hot(rows.x), "told": told}

        rows = every_kth(X, min(most, NUMBERS // X.shape[1] + 1))
        X = X[rows].astype(np.float64)
        weight = np.ones(len(X)) if weight is None else weight[rows]
        z, x, told = self._of_samples(of, X).values()
        n = 2 * min(len(X), DECODED, NUMBERS // (4 * x.shape[1])) // z.shape[1]
        some = every_kth(X, max(n, FEWEST))
        B = self._mean_jacobian(z[some], weight[some])
        share = ~np.isnan(X[:, self.scale_ > 0])[:, self._owner()] * weight[:, None]
        away = x - (share * x).sum(axis=0) / np.maximum(share.sum(axis=0), TINY)
        if self._table is not None:  # columns of several kinds have no unit in common
            spread = np.bincount(self._owner(), (share * away**2).sum(axis=0))
            share = share / np.maximum(spread, TINY)[self._owner()]
        total = max((share * away**2).sum(), TINY)
        numbered = np.argsort(-np.average(told, axis=0, weights=weight), kind="stable")
        shares = self._shares(x, z, share / total, weight, some, B, numbered)
        if is_new:
            covariance = (weight[:, None] * (z - np.average(z, axis=0, weights=weight))).T @ away
            order, signs = put_in_order(self.net_.module_, shares, covariance)
            self.net_.optimizer_.state.clear()
            shares, B = shares[order], signs[:, None] * B[order]
        self.components_ = self._with_constants(B * self._scale_of_columns())
        self.explained_variance_ratio_ = shares

    def _mean_jacobian(self, z, weight):
        """The mean over rows of the derivatives of f at z (n, d), of shape (d, n_columns)."""
        n, d = z.shape
        steps = STEP * np.eye(d)[:, None]
        ends = self._decoded(np.vstack([z + steps, z - steps]).reshape(-1, d)).reshape(2, d, n, -1)
        return np.average(ends[0] - ends[1], axis=1, weights=weight) / (2 * STEP)

    def _shares(self, x, z, share, weight, some, B, numbered):
        """The share of variance of each component (d,), as the head of this file says.

        Of rows x (n, n_columns) and z (n, d). `share` says how much each entry counts, `weight`
        each row, and `some` is the slice of rows at which f_S is found. `numbered` are the
        components in the order in which the head numbers them.
        """
        d, f, away = len(B), self._decoded(z), z - np.average(z, axis=0, weights=weight)
        k, index = np.arange(1, d)[:, None], np.argsort(numbered)
        left_out = np.vstack([index >= k, index < k])
        errors = _nested_errors(share, x - f, away, B, numbered)
        if d > 1:
            rng, p = np.random.RandomState(0), weight / weight.sum()
            other, gone = rng.choice(len(z), (OTHERS, len(z[some])), p=p), left_out[:, None, None]
            decoded = self._decoded(np.where(gone, z[other], z[some]).reshape(-1, d))
            of_others = decoded.reshape(len(left_out), *other.shape, -1)
            of_others = of_others - np.where(gone, away[other], 0) @ B
            curved = _error(share[some], x[some] - of_others.mean(axis=1))
            curved -= _error(share[some], of_others.std(axis=1, ddof=1)) / OTHERS
            linear = np.where(left_out[:, None], away[some], 0) @ B
            curved -= _error(share[some], x[some] - f[some] + linear)
            errors += curved * share.sum() / share[some].sum()
        whole = _error(share, x - f)
        of_first = np.array([1, *errors[: d - 1], whole])  # of the first 0, 1, ..., d components
        of_last = np.array([whole, *errors[d - 1 :], 1])  # of all but those
        return ((np.diff(of_last) - np.diff(of_first)) / 2)[index]


def _nested_errors(share, difference, away, B, numbered):
    """Errors with the first 1, 2, ... components alone, and then without them, (2 (d - 1),).

    Where the loadings say what a component adds. A few rows at a time take one component after the
    other, so that they stay near the CPU.
    """
    orders, errors = (numbered[:0:-1], numbered[:-1]), np.zeros((2, len(B) - 1))
    for rows in chunks(difference, most=NEAR):
        for order, of in zip(orders, errors, strict=True):
            rest = difference[rows].copy()
            for i, j in enumerate(order):
                rest += np.outer(away[rows, j], B[j])
                of[i] += _error(share[rows], rest)
    return np.append(errors[0, ::-1], errors[1])


def _error(share, difference):
    """The sum of squares over rows and columns, by what each entry counts."""
    return (share * difference**2).sum(axis=(-2, -1))
