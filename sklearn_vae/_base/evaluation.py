"""Evaluation: what a fitted model answers.

It runs in the data's own dtype, over chunks of rows of bounded size, without gradients. A row's
result depends on that row alone, to the rounding of that dtype. `elbo` and `score_samples` use one
fixed set of deviates for all rows and all models, so they do not depend on chance either.
"""

import warnings
from numbers import Integral

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Bunch, check_array
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, validate_data

from ..batch import Batch
from ..importance import UNTRUSTED, log_likelihood
from ..objectives import fixed_deviates, reconstruction
from ..selection import Filling
from ..training import SeededInit, one_thread_after_fork
from . import data, table
from .data import check_support, scaled, seed_from
from .net import Spec


class Evaluation(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """`transform`, `inverse_transform`, `sample`, `posterior`, `elbo`, `score_samples`, `score`."""

    def transform(self, X):
        """The posterior mean of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as `fit` takes them.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            E[z | x] under the approximate posterior.
        """
        return self._of_samples(lambda module, rows: module.encode(rows).mean, self._ready(X))

    def inverse_transform(self, X):
        """The mean of p(x | z).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Components z, as `transform` gives them.

        Returns
        -------
        X_original : ndarray or DataFrame of shape (n_samples, n_features)
            E[x | z], in the units of the training data; the most likely category. A DataFrame where
            columns are of several kinds, or `set_output` asks for it, with the index of X.
        """
        check_is_fitted(self)
        index, Z = table.index_of(X), check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if Z.shape[1] != self.net_.module_.n_components:
            raise ValueError(
                f"{type(self).__name__}.inverse_transform takes Z of {self._spec['n_components']} "
                f"components, as transform gives them, but X has {Z.shape[1]} columns."
            )
        X = self._in_units_of_X(lambda module, z: module.decode(z).mean, Z)
        return self._as_table(X, index)

    def sample(self, n_samples=1, random_state=None, *, noise=True, clip=True):
        """Draw from the model: z from the prior N(0, I), then x from p(x | z).

        Parameters
        ----------
        n_samples : int, default=1
            How many.

        random_state : int, RandomState instance or None, default=None
            None for a different result each time.

        noise : bool, default=True
            False for the mean of p(x | z) in place of a draw from it.
        clip : bool, default=True
            Whether numbers stay within the range that `fit` saw of their column, where columns are
            of several kinds. A price or an age has bounds that a normal distribution does not know.
            Arrays and tables of numbers alone are not clipped.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            In the units of the training data. A DataFrame where columns are of several kinds, or
            `set_output` asks for it.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(
                f"sample draws n_samples >= 1 samples, an integer; got n_samples={n_samples!r}."
            )
        rng = np.random.RandomState(seed_from(random_state))
        Z = self.net_.module_.prior.draw(n_samples, rng)
        likelihood = self.net_.module_.likelihood

        def draw(module, z):
            p = module.decode(z)
            return torch.from_numpy(likelihood.draw(p, rng)) if noise else p.mean

        # A likelihood may draw from torch's generator, which is the user's own.
        with SeededInit(torch.Generator(self.device_).manual_seed(rng.randint(2**31))):
            X = self._in_units_of_X(draw, Z)
        is_clipped = clip and self._table is not None
        return self._as_table(table.clipped(X, self._table) if is_clipped else X)

    def posterior(self, X, *, form="dense"):
        """The approximate posterior N(mean, L L^T) of z given each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as `fit` takes them.
        form : {"dense", "own"}, default="dense"
            How the covariance is given.

        Returns
        -------
        mean : ndarray of shape (n_samples, n_components)
            What `transform` gives.

        covariance : ndarray of shape (n_samples, n_components, n_components), or dict of ndarray
            L L^T. For "own" a dict of the family's own numbers. "variance" is of shape (n_samples,
            n_components), or (n_samples, 1) where it is the same for all components. "ar1" and
            "scaled_ar1" have "rho" of shape (n_samples, 1). "full" has "factor", which is L, of
            shape (n_samples, n_components, n_components).
        """
        if form not in ("dense", "own"):
            raise ValueError(
                f"posterior gives the covariance in the form 'dense' or 'own'; got form={form!r}."
            )

        def of(module, rows):
            q = module.encode(rows)
            return {
                "mean": q.mean,
                **({"covariance": q.covariance()} if form == "dense" else q.own_form()),
            }

        own = self._of_samples(of, self._ready(X), width=self.net_.module_.n_components**2)
        mean = own.pop("mean")
        return mean, own["covariance"] if form == "dense" else own

    def elbo(self, X, *, n_draws=64, split=False):
        """The evidence lower bound on log p(x) of each sample, at beta = 1.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as `fit` takes them.
        n_draws : int, default=64
            Fixed deviates over which the reconstruction term is averaged.
        split : bool, default=False
            Whether to return the terms.

        Returns
        -------
        bound : ndarray of shape (n_samples,)
            Nats, in the units of X.

        terms : :class:`~sklearn.utils.Bunch`
            In its place if `split`: ``bound``, ``reconstruction`` and ``kl`` of shape (n_samples,),
            with bound = reconstruction - kl. ``kl_per_component`` is of shape (n_samples,
            n_components), and its sum is kl (the chain rule over components).
        """

        def terms(output, rows):
            kl = output.prior.kl_per_component(output.q)
            return {"bound": reconstruction(output, rows) - kl.sum(-1), "kl_per_component": kl}

        bound, kl = self._bound(X, n_draws, terms).values()
        if not split:
            return bound
        kl[np.isnan(kl)] = np.inf  # of a row so far out that numbers overflow
        total = kl.sum(axis=1)
        with np.errstate(invalid="ignore"):
            reconstructed = _defined(bound + total)
        return Bunch(bound=bound, reconstruction=reconstructed, kl=total, kl_per_component=kl)

    def score_samples(self, X, *, n_draws=64, diagnostics=False):
        """Log p(x) of each sample, by importance sampling.

        The estimate is log 1/K sum_k p(x | z_k) p(z_k) / r(z_k) over K draws of a proposal r made
        for the row. r is Laplace's approximation of the posterior. Where that is not enough, the
        encoder's q(z | x) is used as well (:mod:`sklearn_vae.importance`). The expectation of the
        estimate is a lower bound on log p(x) (Burda et al. 2016). In a linear model it is exact.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as `fit` takes them.
        n_draws : int, default=64
            Fixed deviates, the same for every row. More of them bring the estimate closer to log
            p(x).

        diagnostics : bool, default=False
            Whether to return the effective sample sizes.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            Nats, in the units of X; comparable with the `score_samples` of
            :class:`~sklearn.decomposition.PCA` and :class:`~sklearn.mixture.GaussianMixture`.
        estimate : :class:`~sklearn.utils.Bunch`
            In its place if `diagnostics`: ``log_prob`` and ``effective_draws`` of shape
            (n_samples,). Below 5 effective draws an estimate is not to be trusted.

        Warns
        -----
        UserWarning
            If more than one row in twenty has fewer than 5 effective draws.
        """
        X = self._ready(X)
        eps = fixed_deviates(n_draws, self.net_.module_.n_components)

        def of(module, rows):
            return log_likelihood(module, rows, eps.to(rows.x.device, rows.x.dtype))._asdict()

        module, n_features = self.net_.module_, self.n_features_in_
        # The draws of a row, and the derivatives by its components of what each layer gives.
        derivatives = 2 * module.n_components * max(n_features, module.width)
        width = max(n_draws * n_features, derivatives)
        estimate = Bunch(**self._of_samples(of, X, width=width, in_double=True))
        estimate.log_prob = _defined(estimate.log_prob - self._log_scale_of(X))
        known = np.isfinite(estimate.log_prob)
        doubtful = np.sum(estimate.effective_draws[known] < min(UNTRUSTED, n_draws / 2))
        if doubtful > 0.05 * len(X):
            warnings.warn(
                f"The log-likelihood of {doubtful} of {len(X)} rows rests on fewer than "
                f"{UNTRUSTED:g} effective draws and may be off by a nat or more. Raise n_draws "
                f"(now {n_draws}) in score_samples(X, n_draws=...); score_samples(X, "
                "diagnostics=True) tells which rows they are.",
                UserWarning,
                stacklevel=2,
            )
        return estimate if diagnostics else estimate.log_prob

    def score(self, X, y=None, sample_weight=None):
        """The mean of `score_samples` over X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as `fit` takes them.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.

        Returns
        -------
        log_prob : float
            Nats per sample.
        """
        weight = data.check_weight(sample_weight, X)
        return float(np.average(self.score_samples(X), weights=weight))

    # --- inside -----------------------------------------------------------------------------------

    def _checked(self, X, likelihood, name, reset=False, ensure_min_samples=1):
        """Validate X, and that the likelihood, known to the user by a name, takes its values."""
        # Integers and half floats are converted in chunks: a memory map may be larger than the
        # memory.
        if self._table is not None:
            validate_data(self, X, reset=reset, skip_check_array=True)
            X = table.to_numbers(X, self._table, self.handle_unknown)
            X = check_array(X, ensure_all_finite="allow-nan", ensure_min_samples=ensure_min_samples)
            check_support(X, name, likelihood, self._feature_names())
            return X
        dtype = None if data.is_narrow(X) else [np.float64, np.float32]
        X = validate_data(
            self,
            X,
            reset=reset,
            dtype=dtype,
            ensure_min_samples=ensure_min_samples,
            ensure_all_finite="allow-nan",
            accept_sparse="csr",
        )
        if issparse(X):
            X = data.rows_of_sparse(X)
        check_support(X, name, likelihood, self._feature_names())
        return X

    def _feature_names(self):
        return getattr(self, "feature_names_in_", range(self.n_features_in_))

    def _ready(self, X):
        """X, checked."""
        check_is_fitted(self)
        # That of all columns: the net's is of those that vary.
        likelihood = Spec.of(self._spec, self._table).likelihood
        return self._checked(X, likelihood, self._spec["likelihood"])

    def _as_table(self, X, index=None):
        """X as `fit` saw tables, if columns were of several kinds or `set_output` asks for it."""
        if self._table is not None:
            return table.to_table(X, self._table, index)
        asked = _get_output_config("transform", self)["dense"]
        if asked == "default":
            return X
        names = [str(name) for name in self._feature_names()]
        schema = {"container": asked, "names": names, "kinds": [table.REAL] * len(names)}
        schema["dtypes"] = ["float64" if asked == "pandas" else "Float64"] * len(names)
        return table.to_table(X, schema, index)

    def _of_samples(self, function, X, width=1, in_double=False):
        """`_evaluate` for rows of X as the net takes them."""

        def scale(x):
            return scaled(x, self.mean_, self.scale_, data.float_dtype(x))

        def of(module, x):
            return function(module, self._completed(module, x))

        return self._evaluate(of, X, width, before=scale, in_double=in_double)

    def _missing_filled_by(self):
        """What fills missing values, or None if the fit saw none."""
        return None if self._filling is None else Filling(**self._filling)

    def _completed(self, module, x):
        """Rows x (n, n_kept) that may have NaN, as a batch."""
        observed = ~torch.isnan(x)
        if observed.all():
            return Batch(x)
        filling, known = self._missing_filled_by(), observed.to(x.dtype)
        if filling is None:
            return module.completed(Batch(torch.where(observed, x, 0), known))
        filled = torch.from_numpy(filling(x.double().cpu().numpy()))
        return Batch(filled.to(x.device, x.dtype), known)

    def _log_scale_of(self, X):
        """The logarithm of the Jacobian of the scaling of each row, of what was observed in it."""
        if not data.has_missing(X):
            return float(np.log(self.scale_[self.scale_ > 0]).sum())
        log_scale = np.log(np.where(self.scale_ > 0, self.scale_, 1))
        each = [~np.isnan(X[rows]) @ log_scale for rows in data.chunks(X)]
        return np.concatenate(each).astype(data.float_dtype(X))

    def _in_units_of_X(self, function, Z):
        """`_evaluate` for a function that gives rows as the net takes them."""

        def unscale(x):
            return data.unscaled(x, self.mean_, self.scale_)

        return self._evaluate(function, Z, after=unscale)

    def _evaluate(self, function, x, width=1, before=None, after=None, in_double=False):
        """``function(module, x)`` for chunks of x whose rows take `width` numbers.

        It gives a tensor or a dict of tensors. `before` and `after`, functions of arrays, are
        applied to what goes into it and comes out of it. With `in_double` the function is computed
        in float64, whatever x is in.
        """
        one_thread_after_fork()
        device = self.device_
        # In float32 a row's last digits depend on the rows that share a matrix product with it.
        dtype_out = data.float_dtype(x)
        is_single = dtype_out is np.float32 and not in_double
        dtype = torch.float32 if is_single or device.type == "mps" else torch.float64
        module = self.net_.module_in(dtype)
        out = {}
        width = max(width, self.n_features_in_, module.width)
        # Tensors of inference mode have no derivatives, which a function may need of itself.
        with torch.inference_mode(False), torch.no_grad():
            for rows in data.chunks(x, width):
                # A copy may be written to and has no negative strides, as torch likes it.
                chunk = np.array(x[rows] if before is None else before(x[rows]), order="C")
                results = function(module, torch.from_numpy(chunk).to(device, dtype))
                for name, result in (
                    results if isinstance(results, dict) else {None: results}
                ).items():
                    result = result.cpu().numpy() if after is None else after(result.cpu().numpy())
                    if name not in out:
                        out[name] = np.empty((len(x), *result.shape[1:]), dtype=dtype_out)
                    with np.errstate(over="ignore"):  # of a row so far out that float32 ends
                        out[name][rows] = result
        return out.get(None, out)

    def _bound(self, X, n_draws, function):
        """``function(output, x)`` for each row over fixed deviates; in X's units.

        It gives a dict with a bound in it.
        """
        X = self._ready(X)
        eps = fixed_deviates(n_draws, self.net_.module_.n_components)

        def of(module, rows):
            return function(module(rows, eps.to(rows.x.device, rows.x.dtype)), rows)

        results = self._of_samples(of, X, width=n_draws * self.n_features_in_)
        results["bound"] = _defined(results["bound"] - self._log_scale_of(X))
        return results


def _defined(bound):
    """A bound on log p(x); -inf where it is inf - inf.

    That is an outlier whose squares overflow.
    """
    bound[np.isnan(bound)] = -np.inf
    return bound
