"""The imputer: a thin transformer around an estimator's `impute`."""

from numbers import Integral

import numpy as np
from sklearn.base import TransformerMixin, _fit_context
from sklearn.impute import MissingIndicator
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from .._base.data import seed_from
from ..likelihoods import LIKELIHOODS
from .around import Around
from .transformers import VAETransformer

MOST_COMPONENTS = 30
RATE = 2e-3  # of learning: small steps from a linear model that is good already


class VAEImputer(TransformerMixin, Around):
    """Fill missing values by a variational autoencoder.

    It takes the place of :class:`~sklearn.impute.IterativeImputer` in a pipeline. A missing value
    is given its conditional mean under the model, or a draw from its conditional distribution.
    Training starts at a Gaussian distribution, which EM finds. Its conditional means are linear
    regressions on all observed columns, with a prior on their coefficients. The networks are kept
    where they do better than that on rows held out.

    Read more in the :ref:`User Guide <user_guide>`.

    Parameters
    ----------
    estimator : estimator or None, default=None
        An estimator of this package, which is cloned and fitted. None for a
        :class:`VAETransformer` that divides each column by its standard deviation, has a noise
        variance for each column, a learning rate of 2e-3, and one component less than there are
        columns, at most 30. With so many the Gaussian distribution that training starts at can have
        any covariance.

    n_draws : int, default=64
        Draws of the components over which a conditional mean is taken.

    sample_posterior : bool, default=False
        Whether to give a draw from the conditional distribution in place of its mean, for multiple
        imputation.

    add_indicator : bool, default=False
        Whether to append columns that say where values were missing
        (:class:`~sklearn.impute.MissingIndicator`).

    keep_empty_features : bool, default=False
        Whether columns without any value in `fit` are kept, filled with 0, and not dropped.

    random_state : int, RandomState instance or None, default=None
        Seed of the estimator, where it has none of its own, and of the draws.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.

    indicator_ : MissingIndicator or None
        What adds the indicator columns.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of features seen during `fit`, if they were all strings.

    See Also
    --------
    sklearn.impute.IterativeImputer : Regresses each column on the others, in turns.
    sklearn.impute.KNNImputer : The mean of the nearest rows.

    References
    ----------
    .. [1] Mattei, P.-A., and Frellsen, J. "MIWAE: Deep Generative Modelling and Imputation of
       Incomplete Data Sets". ICML 2019. arXiv:1812.02633.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_vae import VAEImputer
    >>> X, _ = load_wine(return_X_y=True)
    >>> X[::3, 1] = np.nan
    >>> VAEImputer(random_state=0).fit_transform(X).shape
    (178, 13)
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "impute"]), None],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "sample_posterior": ["boolean"],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        n_draws=64,
        sample_posterior=False,
        add_indicator=False,
        keep_empty_features=False,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_draws = n_draws
        self.sample_posterior = sample_posterior
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Fit the estimator to X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN where a value is missing.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The fitted imputer.
        """
        X = self._checked(X, reset=True)
        self._seed = seed_from(self.random_state)
        self._is_empty = np.isnan(X).all(axis=0)
        X_known = X[:, ~self._is_empty]
        n_components = min(max(X_known.shape[1] - 1, 1), MOST_COMPONENTS)
        likelihood = LIKELIHOODS["gaussian"]("per_feature")
        settings = {"likelihood": likelihood, "standardize": True, "learning_rate_init": RATE}
        default = VAETransformer(n_components, **settings)
        self._fit_inside(self._inside(default, self._seed), X, y, X_known)
        self.indicator_ = None
        if self.add_indicator:
            self.indicator_ = MissingIndicator(error_on_new=False).fit(X)
        return self

    def transform(self, X):
        """X with its missing values filled in.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN where a value is missing.

        Returns
        -------
        X_imputed : ndarray of shape (n_samples, n_features_out)
        """
        check_is_fitted(self)
        X = self._checked(X)
        how = {"n_draws": self.n_draws, "random_state": self._seed}
        if self.sample_posterior:
            how["multiple"] = 1
        filled = self.estimator_.impute(X[:, ~self._is_empty], **how)
        filled = filled[0] if self.sample_posterior else filled
        if self.keep_empty_features:
            out = np.zeros(X.shape, dtype=filled.dtype)
            out[:, ~self._is_empty] = filled
            filled = out
        if self.indicator_ is None:
            return filled
        return np.hstack([filled, self.indicator_.transform(X)])

    def get_feature_names_out(self, input_features=None):
        """Names of the columns that `transform` gives.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns that it takes.

        Returns
        -------
        names : ndarray of str
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        kept = names if self.keep_empty_features else names[~self._is_empty]
        if self.indicator_ is None:
            return kept
        return np.concatenate([kept, self.indicator_.get_feature_names_out(names)])

    def _checked(self, X, reset=False):
        floats = [np.float64, np.float32]
        return validate_data(self, X, reset=reset, dtype=floats, ensure_all_finite="allow-nan")
