r"""The outlier detector: a thin estimator around the log-likelihood of a fitted one.

A row is an outlier where log p(x) is low. Which column is to blame is read from one of its terms.
For every z,

    -log p(x) = sum_j -log p(x_j | z) - log p(z) + log p(z | x),

so a column that the model cannot rebuild from z adds much to the sum. Its term depends on its unit
and on how well it is rebuilt in general. The median c_j of the term over the training rows tells
both, so the contribution of a column is

    -log p(x_j | z) - c_j,   z = E_q[z | x],

in nats. It does not change with the unit of x_j, and is about 0 where the column is as usual.

Outliers among the training rows draw the model to them. A linear model of one component has little
room for them, so it may say first which rows are likely. The others then hardly count: so little
that outliers do not matter, and enough to keep in the model a second kind of inliers, and columns
that vary in few rows.
"""

import warnings
from numbers import Real

import numpy as np
from sklearn.base import OutlierMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from .._base.data import seed_from
from .around import Around
from .transformers import VAETransformer

MOST_COMPONENTS = 10
MOST_ROWS = 10_000  # of the training rows, over which a median is taken
OUTSIDE = 0.03  # what a row outside the support counts
OF_THE_DATA = ("likelihood", "categorical_features", "standardize", "device", "random_state")


class VAEOutlierDetector(OutlierMixin, Around):
    """Find outliers by the log-likelihood of a variational autoencoder.

    A model of the density is fitted to the training rows, most of which should be inliers. A row
    whose log p(x) is lower than that of all but a few of them is an outlier. The methods are those
    of :class:`~sklearn.covariance.EllipticEnvelope`, whose model is a single normal distribution.

    Read more in the :ref:`User Guide <user_guide>`.

    Parameters
    ----------
    estimator : estimator or None, default=None
        An estimator of this package, which is cloned and fitted. None for a
        :class:`VAETransformer` with a third as many components as there are columns, and at most
        10.

    contamination : float, default=0.1
        The share of outliers among the training rows, in (0, 0.5]. It sets `offset_` and changes no
        score.

    support_fraction : float or None, default=None
        The share of the training rows that count in full, in (0, 1]; each of the others counts as
        0.03 of a row. The rows that are likeliest under a linear model of one component count in
        full. Give 0.5 where a tenth of the rows or more may be outliers. None for all rows, which
        is better where few are.

    random_state : int, RandomState instance or None, default=None
        Seed of the estimator, where it has none of its own.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.

    offset_ : float
        The score below which a row is an outlier, in nats. The share `contamination` of the
        training rows lies below it.

    support_ : ndarray of shape (n_samples,)
        Whether each training row counts in full.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of features seen during `fit`, if they were all strings.

    See Also
    --------
    sklearn.covariance.EllipticEnvelope : The same with a robust normal distribution.
    sklearn.ensemble.IsolationForest : By how few splits a row is isolated.
    sklearn.neighbors.LocalOutlierFactor : By the density of a row's neighbours.

    Notes
    -----
    Of a row with missing values the score is that of its observed values, which is higher the fewer
    there are. Impute them where rows are to be compared.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn_vae import VAEOutlierDetector
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> detector = VAEOutlierDetector(random_state=0).fit(X[y == 1])
    >>> bool((detector.predict(X[y == 0]) == -1).mean() > 0.8)
    True
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "score_samples"]), None],
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "support_fraction": [Interval(Real, 0, 1, closed="right"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self, estimator=None, *, contamination=0.1, support_fraction=None, random_state=None
    ):
        self.estimator = estimator
        self.contamination = contamination
        self.support_fraction = support_fraction
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Fit the estimator to X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, most of which should be inliers. NaN where a value is missing.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The fitted detector.
        """
        X = self._checked(X, reset=True)
        default = VAETransformer(max(1, min(self.n_features_in_ // 3, MOST_COMPONENTS)))
        inside = self._inside(default, seed_from(self.random_state))
        self.support_ = self._likeliest(X, inside)
        how = {}
        if not self.support_.all():
            how["sample_weight"] = np.where(self.support_, 1.0, OUTSIDE)
        self._fit_inside(inside, X, y, X, **how)
        self.offset_ = np.percentile(self.score_samples(X), 100 * self.contamination)
        some = self.estimator_._ready(X)[:: -(-_num_samples(X) // MOST_ROWS)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a column without any value
            self._usual = np.nan_to_num(np.nanmedian(self._surprise(some), axis=0))
        return self

    def score_samples(self, X):
        """Log p(x) of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as `fit` takes them.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            Nats, in the units of X; the lower, the more abnormal.
        """
        check_is_fitted(self)
        return self.estimator_.score_samples(self._checked(X))

    def decision_function(self, X):
        """How far log p(x) lies above `offset_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as `fit` takes them.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            Nats, below 0 for outliers.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Whether each sample is an inlier or an outlier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as `fit` takes them.

        Returns
        -------
        is_inlier : ndarray of shape (n_samples,)
            1 for inliers and -1 for outliers.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def feature_contributions(self, X):
        """What each column contributes to a row's being an outlier.

        The contribution of column j is ``-log p(x_j | z)`` at the posterior mean z of the row, less
        its median over the training rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as `fit` takes them.

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_features)
            Nats; the largest is that of the column most to blame. 0 where a value is missing and
            for columns that were constant in `fit`.
        """
        check_is_fitted(self)
        surprise = self._surprise(self.estimator_._ready(self._checked(X)))
        return np.nan_to_num(surprise - self._usual, posinf=np.inf)

    def _likeliest(self, X, inside):
        """Which rows count in full: the likeliest ones under a linear model of one component."""
        support = np.ones(_num_samples(X), dtype=bool)
        if self.support_fraction is not None:
            same = {name: getattr(inside, name) for name in OF_THE_DATA}
            linear = VAETransformer(1, hidden_layer_sizes=(), **same)
            ranks = np.argsort(linear.fit(X).score_samples(X))
            support[ranks[: round((1 - self.support_fraction) * len(ranks))]] = False
        return support

    def _surprise(self, X):
        """``-log p(x_j | z)`` at the posterior mean, in the net's units; NaN where x_j is missing.

        X is as the estimator takes it.
        """
        model, kept = self.estimator_, self.estimator_.scale_ > 0

        def of(module, rows):
            return -module.decode(module.encode(rows).mean).log_prob(rows.x)

        surprise = np.full(X.shape, np.nan)
        surprise[:, kept] = model._of_samples(of, X)
        return np.where(np.isnan(X[:]), np.nan, surprise)

    def _checked(self, X, reset=False):
        """X as it is: the estimator takes tables as well, whose columns may be of several kinds."""
        how = {"dtype": None, "accept_sparse": "csr", "ensure_all_finite": "allow-nan"}
        is_table = hasattr(X, "columns")
        validate_data(self, X, reset=reset, **({"skip_check_array": True} if is_table else how))
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
