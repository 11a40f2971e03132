"""Fitting: from data and parameters to a fitted net.

In order: check the data; find the scale of the features; build the net; take it to where it starts;
train it on float32 rows, a part of them held out (`race.py`); and only then let the result take the
place of what was there before. A fit that fails or is interrupted leaves the estimator as it was.
"""

import warnings
from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch
from sklearn.base import _fit_context

from ..likelihoods import LIKELIHOODS
from ..training import VAENet, load_net_state, net_state, resolve_device
from .data import RowsOnDisk, is_too_large, rows_for_net, scale_of, seed_from, split, thinned
from .net import ARCHITECTURE, build_net, starting_points
from .race import best_net

ACTIVE = 0.01  # variance of a component's posterior mean over the data (Burda et al. 2016)
DIAGNOSED = 10_000  # rows at most


class Fitting:
    """`fit` and `partial_fit`."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Fit the model to X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data; at least two samples.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data are out of range, the device is not there, or the loss
            becomes non-finite. Whatever the estimator was before, it still is.
        """
        with self._unchanged_on_failure():
            resume = self.warm_start and hasattr(self, "net_")
            X = self._checked(X, reset=not resume, ensure_min_samples=2)
            self._train(X, self.max_iter, resume, early_stopping=self.early_stopping)
        self._warn_of_collapse()
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Train for one epoch on a block of data, from where the last call left off.

        The first block, of at least two samples, decides the scale of the features and where
        training starts. Blocks should be shuffled: in sorted order they train badly.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A block of data.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with self._unchanged_on_failure():
            resume = hasattr(self, "net_")
            X = self._checked(X, reset=not resume, ensure_min_samples=1 if resume else 2)
            self._train(X, 1, resume, early_stopping=False)
        return self

    @contextmanager
    def _unchanged_on_failure(self):
        """Put every attribute back if what happens inside fails or is interrupted."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _train(self, X, epochs, resume, early_stopping):
        """Train a net, from the fitted one or from where it may start, and let the best become the model."""
        self._check_parameters()
        if resume:
            self._check_same_architecture()
            seed, epochs_before = self._seed, self.n_iter_
        else:
            seed, epochs_before = seed_from(self.random_state), 0
            self.mean_, self.scale_ = scale_of(X, self.standardize and LIKELIHOODS[self.likelihood].rescales)
        # Where training goes on it draws other numbers than it began with.
        seeds = np.random.SeedSequence([seed, epochs_before]).generate_state(6).tolist()
        spec, device = self.get_params(deep=False), resolve_device(self.device)
        train, valid = split(len(X), early_stopping, self.validation_fraction, seeds[0])
        x, x_valid = (self._rows(X, rows, device) for rows in (train, valid))

        def build():
            return build_net(spec, X.shape[1], self.scale_, device, seeds[1])

        if resume:
            state = net_state(self.net_)
            starts = [lambda net, *_: load_net_state(net, state)]
        else:
            starts = starting_points(spec, self.scale_, seeds[2])
        self._take(*best_net(build, starts, x, x_valid, epochs, seeds[3:]), spec, seed)
        self._diagnose(X)

    def _rows(self, X, rows, device):
        """Rows of X as the net takes them, on the device."""
        if rows is None:
            return None
        scaling = self.mean_, self.scale_, self._feature_names()
        if is_too_large(X, device):
            return RowsOnDisk(X, rows, *scaling, device)
        return torch.from_numpy(rows_for_net(X, rows, *scaling)).to(device)

    def _take(self, net, watched, spec, seed):
        """Let a trained net become the fitted model, with the history of the one that was watched."""
        net.module_.eval()
        net.history = watched.history
        self.net_, self._spec, self._seed = net, spec, seed
        self.n_iter_ = len(net.history)
        self.loss_curve_ = [epoch["train_loss"] for epoch in net.history]
        self.validation_loss_curve_ = [epoch["valid_loss"] for epoch in net.history if "valid_loss" in epoch] or None
        self.loss_ = self.loss_curve_[-1]
        self.best_loss_ = watched.keep_best_.best_
        for name in ("noise_variance_", "noise_growth_", "noise_reach_", "dispersion_"):
            # An earlier fit may have had another likelihood.
            vars(self).pop(name, None)
        likelihood = net.module_.likelihood
        if hasattr(likelihood, "noise_variance"):
            self.noise_variance_ = _array(likelihood.noise_variance) * self.scale_**2
            self.noise_growth_, self.noise_reach_ = likelihood.noise_growth, likelihood.noise_reach
        if hasattr(likelihood, "dispersion"):
            self.dispersion_ = _array(likelihood.dispersion)

    def _diagnose(self, X):
        """How much each component tells of a sample."""

        def of(module, x):
            q = module.encode(x)
            return {"kl": q.kl_per_component(), "mean": q.mean}

        kl, mean = self._of_samples(of, thinned(X, DIAGNOSED)).values()
        self.kl_per_component_, spread = kl.mean(axis=0), mean.var(axis=0)
        order = np.argsort(-self.kl_per_component_, kind="stable")
        self.active_components_ = order[spread[order] > ACTIVE]
        self.n_active_components_ = len(self.active_components_)

    def _warn_of_collapse(self):
        d = self.n_components
        if 2 * self.n_active_components_ < d:
            warnings.warn(
                f"Only {self.n_active_components_} of {d} components of {type(self).__name__} are active: the others "
                f"tell nothing of a sample. Lower beta (now {self.beta}), raise free_bits or kl_warmup, train longer, "
                "or ask for fewer components; kl_per_component_ says what each of them tells.",
                UserWarning,
                stacklevel=3,
            )

    def _check_parameters(self):
        """What `_parameter_constraints` cannot say."""
        sizes = self.hidden_layer_sizes
        if not all(isinstance(size, Integral) and size >= 1 for size in sizes):
            raise ValueError(f"hidden_layer_sizes takes positive integers, one per hidden layer, or (); got {sizes!r}.")
        if self.net_class is not None and not issubclass(self.net_class, VAENet):
            raise ValueError(f"net_class takes a subclass of sklearn_vae.training.VAENet; got {self.net_class!r}.")

    def _check_same_architecture(self):
        changed = [name for name in ARCHITECTURE if getattr(self, name) != self._spec[name]]
        if changed:
            raise ValueError(
                f"{type(self).__name__} cannot go on training with another {', '.join(changed)}: the fitted net does "
                "not fit. Set warm_start=False and call fit to start afresh, or put back the values of the last fit."
            )


def _array(tensor):
    return tensor.detach().cpu().double().numpy()
