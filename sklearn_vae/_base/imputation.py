"""Imputation: what a fitted model puts in the place of missing values."""

from numbers import Integral

import numpy as np
import torch

from ..importance import conditional_draws, conditional_means
from ..objectives import fixed_deviates
from ..training import SeededInit
from .data import float_dtype, seed_from, unscaled
from .table import index_of


class Imputation:
    """`impute`."""

    def impute(self, X, *, n_draws=64, multiple=None, random_state=None):
        """X with its missing values filled in.

        A missing value is given its conditional mean E[x_j | x_o] under the model. This is the mean
        of E[x_j | z_k] over draws z_k of the components, by their importance weights (Mattei &
        Frellsen 2019). Observed values do not change.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN where a value is missing.

        n_draws : int, default=64
            Fixed deviates, the same for every row.

        multiple : int or None, default=None
            How many draws of the missing values to give, for multiple imputation (Rubin 1987). None
            for the conditional mean.
        random_state : int, RandomState instance or None, default=None
            Of these draws.

        Returns
        -------
        X_imputed : ndarray of shape (n_samples, n_features) or (multiple, n_samples, n_features)
            In the units of X. A DataFrame, or a list of them, where columns are of several kinds,
            with the index of X.
        """
        if multiple is not None and not (isinstance(multiple, Integral) and multiple >= 1):
            raise ValueError(f"impute gives multiple >= 1 draws, or None; got {multiple!r}.")
        index, X = index_of(X), self._ready(X)[:]  # what is given back is dense
        eps = fixed_deviates(n_draws, self.net_.module_.n_components)
        missing = np.flatnonzero(np.isnan(X).any(axis=1))
        rng = np.random.RandomState(seed_from(random_state))
        generator = torch.Generator(self.device_).manual_seed(rng.randint(2**31))

        def mean(module, rows):
            return conditional_means(module, rows, eps.to(rows.x))[:, None]

        def draw(module, rows):
            z = conditional_draws(module, rows, eps.to(rows.x), multiple, generator)
            p = module.decode(z, rows.condition)
            # A likelihood may draw from torch's generator, which is the user's own. The derivatives
            # that the draws of z take are not for such a mode: torch crashes at some of them.
            with SeededInit(generator):
                return torch.from_numpy(module.likelihood.draw(p, rng))

        out = np.repeat(np.array(X, dtype=float_dtype(X))[None], multiple or 1, axis=0)
        if len(missing):
            width = n_draws * self.n_features_in_
            filled = self._of_samples(draw if multiple else mean, X[missing], width=width)
            filled = np.moveaxis(filled, 1, 0)
            for one, values in zip(out, filled, strict=True):
                values = unscaled(values, self.mean_, self.scale_)
                one[missing] = np.where(np.isnan(X[missing]), values, X[missing])
        if self._table is not None and multiple:
            return [self._as_table(one, index) for one in out]
        return out if multiple else self._as_table(out[0], index)
