"""Fitting: from data and parameters to a fitted net.

The steps are, in order: check the data; find the scale of the features; decide which rows are held
out; build the net; take it to where it starts. The net is then trained on float32 rows
(`selection`), and its components are put in order. Only then does the result replace what was there
before. A fit that fails or is interrupted leaves the estimator as it was.
"""

import math
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from sklearn.base import _fit_context

from ..batch import Batch
from ..selection import (
    SAMPLED_INCOMPLETE,
    Filling,
    Moments,
    Trainer,
    best_net,
    starting_points,
)
from ..training import (
    Seeds,
    every_kth,
    load_history,
    load_net_state,
    net_state,
    resolve_device,
)
from . import checks, splitting, table
from .data import (
    RowsOnDisk,
    check_weight,
    columns_of,
    few_threads,
    has_missing,
    is_too_large,
    rows_on_device,
    scaled,
    seed_from,
)
from .loadings import IN_A_BLOCK
from .net import Spec, build_net, kept
from .progress import CallbackSupportMixin, Tasks
from .stream import GROWTH, Stream


class Fitting(CallbackSupportMixin):
    """`fit` and `partial_fit`."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_weight=None, groups=None, X_val=None):
        """Fit the model to X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data; at least two samples.
        y : Ignored
            Not used, present for API consistency by convention. A splitter given as
            `early_stopping` sees it.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts, in the loss and in every statistic of the fit: a row of weight
            2 counts as two copies of it, and one of weight 0 not at all.
        groups : array-like of shape (n_samples,), default=None
            Labels of rows that belong together, such as the measurements of one subject. Rows of
            one group are either all held out or all trained on. Ignored if no row of X is held out.
        X_val : array-like of shape (n_validation_samples, n_features), default=None
            Rows that are held out, in the place of a part of X. They decide when to stop and how
            large the noise is, and are not trained on.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data are out of range, the device is not there, or the loss
            becomes non-finite. Whatever the estimator was before, it still is.
        KeyboardInterrupt
            At Ctrl-C, and again the estimator is what it was. With
            ``net_params={"keep_on_interrupt": True}`` Ctrl-C ends the fit instead, and the model is
            the best so far.

        Warns
        -----
        UserWarning
            If most components tell nothing, if held-out rows seem to be related to the rows trained
            on, or if the likelihood has no upper bound, so that the score means nothing. With
            `warm_start`, if columns have several values that the first fit did not know.
        ConvergenceWarning
            If `max_iter` ended a training that was still improving, or `max_time` or Ctrl-C ended
            it.
        """
        tasks = Tasks.of(self, X, y, sample_weight)
        with self._unchanged_on_failure(), few_threads(X):
            resume = self.warm_start and hasattr(self, "net_")
            spec, X = self._begin(X, resume, 2)
            X_val = self._given_to_hold_out(spec, X_val)
            self.n_samples_seen_ = len(X)
            splits = hasattr(self.early_stopping, "get_n_splits")
            device = resolve_device(self.device)
            y, groups = (y if splits else None), splitting.check_groups(groups, X)
            weight = check_weight(sample_weight, X)
            X, weight, y, groups = splitting.counted(X, weight, device, y, groups, least=2)
            if groups is None and not splits and not is_too_large(X, device):
                X, weight = splitting.merged(X, weight)
            missing = has_missing(X) or (X_val is not None and has_missing(X_val))
            seed, seeds = self._prepare(spec, X, resume, weight, missing)
            how = self._fill(missing), weight
            if not resume and spec.is_solved and self._filling is not None:
                train, valid, max_iter = self._rows(X, np.arange(len(X)), *how), None, 0
            else:
                rest = y, groups, X_val, seeds[0]
                train, valid, max_iter = self._held_out(X, how, *rest)
            self._moments, spec = None, replace(spec, n_rows=len(X))
            still_improving = self._train(
                spec, train, valid, max_iter, resume, seed, seeds, settle=X_val is None, tasks=tasks
            )
            self._describe(X, weight, is_new=not resume)
            self._diagnose(X, weight)
        if tasks is not None:
            tasks.end()
        checks.warn_of_collapse(self)
        checks.warn_of_no_upper_bound(self)
        checks.warn_of_early_end(self, still_improving)
        checks.warn_of_columns_left_out(self, X)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, *, sample_weight=None):
        """Train for one epoch on a block of data, from where the last call left off.

        Training starts at the linear model of the first block, of at least two samples. Each time
        that the rows seen have grown by a quarter, the linear model of all of them competes with
        the net on the block that comes, which is new to both. Training starts anew from there if it
        does better. Mean, covariance and range of the rows are kept, for up to 1,000 features (a
        category counts as one for each level), and no row. Blocks should be shuffled all the same:
        in sorted order they train badly.

        If values are missing in the first block, training goes on from its linear model and does
        not start anew. Such a stream needs a first block that stands for the others. A column that
        has no value there, or only one, is left out for good. A warning says so when it has more.

        Names, kinds and levels of the columns of a DataFrame are those of the first block. Levels
        that come later have to be declared there, by a categorical dtype with all levels:
        `pandas.CategoricalDtype` or `polars.Enum`. The dtype of later blocks may have fewer levels,
        or be that of strings.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A block of data.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row of the block counts.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with self._unchanged_on_failure(), few_threads(X):
            resume = hasattr(self, "net_")
            least, device = 1 if resume else 2, resolve_device(self.device)
            spec, X = self._begin(X, resume, least)
            self.n_samples_seen_ = len(X) + (getattr(self, "n_samples_seen_", 0) if resume else 0)
            weight = check_weight(sample_weight, X)
            X, weight = splitting.counted(X, weight, device, least=least)
            missing = has_missing(X)
            seed, seeds = self._prepare(spec, X, resume, weight, missing)
            moments, looked_at, start = self._stream(spec, X, resume, seeds, weight, missing)
            x = self._rows(X, np.arange(len(X)), self._fill(missing), weight)
            self._train(spec, x, None, 1, resume, seed, seeds, start=start)
            self._moments = (
                None if moments is None else {**moments._asdict(), "looked_at": looked_at}
            )
            self._describe(X, weight, IN_A_BLOCK, is_new=start is not None or not resume)
            self._diagnose(X, weight)
        checks.warn_of_no_upper_bound(self)
        checks.warn_of_columns_left_out(self, X)
        return self

    def _begin(self, X, resume, ensure_min_samples):
        """Check parameters and X, for a model that begins or goes on."""
        checks.check_parameters(self)
        if resume:
            checks.check_same_architecture(self)
        else:
            self._table = table.schema_of(X, self.categorical_features, self.likelihood)
        spec = Spec.of(self.get_params(deep=False), self._table)
        X = self._checked(X, spec.likelihood, self.likelihood, not resume, ensure_min_samples)
        if not resume:
            checks.check_not_empty(self, X)
        return spec, X

    def _stream(self, spec, X, resume, seeds, weight, missing):
        """A stream's moments with X, the rows at its last look, and a net to start anew from."""
        stream, own = Stream(spec, seeds, X.shape[1]), (self.mean_, self.scale_)
        if not resume:
            if missing or not stream.may_start_anew:
                return None, 0, None
            moments = stream.moments(X, weight)
            return moments, len(X), stream.first_net(moments, own, X, weight)
        if not getattr(self, "_moments", None):
            return None, 0, None
        state = dict(self._moments)
        looked_at, before = state.pop("looked_at"), Moments(**state)
        if missing:
            return before, looked_at, None
        moments = stream.moments(X, weight, before)
        # A column that was constant so far is not in the net.
        is_new = ((stream.scaling(moments)[1] > 0) & (self.scale_ == 0)).any()
        if moments.n < GROWTH * looked_at and not is_new:
            return moments, looked_at, None
        known = moments if is_new else before
        scaling = stream.scaling(known)
        net = stream.net_at(known, scaling, X)
        better = is_new or stream.loss_on(net, X, scaling) < stream.loss_on(self.net_, X, own)
        if not better:
            return moments, moments.n, None
        self.mean_, self.scale_ = scaling
        return moments, moments.n, net

    @contextmanager
    def _unchanged_on_failure(self):
        """Put every attribute back if what happens inside fails or is interrupted.

        Gradients are on within, whatever the caller's mode is.
        """
        before = self.__dict__.copy()
        try:
            with torch.inference_mode(False), torch.enable_grad():
                yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _prepare(self, spec, X, resume, weight, missing):
        """Find seeds and ranges and, for a model that begins, the scale of the features."""
        if self._table is not None:
            self._table = table.with_range(self._table, X)
        if resume:
            seed, epochs_before = self._seed, self.n_iter_
        else:
            seed, epochs_before = seed_from(self.random_state), 0
            columns = columns_of(X, weight)
            self.mean_, self.scale_ = spec.likelihood.scaling(columns, self.standardize)
            checks.check_scale(self, columns)
            self._filling = self._fill_by(spec, X, weight) if missing else None
        # Where training goes on it draws other numbers than it began with.
        return seed, np.random.SeedSequence([seed, epochs_before]).generate_state(6).tolist()

    def _fill_by(self, spec, X, weight):
        """What fills missing values, as a dict."""
        rows = every_kth(X, SAMPLED_INCOMPLETE)
        some = scaled(X[rows], self.mean_, self.scale_, np.float64)
        weight = None if weight is None else weight[rows]
        how = spec.likelihood.restricted(self.scale_ > 0), some, spec.n_components, weight
        return Filling.of(*how)._asdict()

    def _fill(self, missing):
        """A function that fills missing values of scaled rows; None if there are none."""
        if self._filling is not None:
            return self._missing_filled_by()
        if not missing:
            return None

        def fill(x):
            x = torch.from_numpy(x).to(self.device_)
            with torch.no_grad():
                return self._completed(self.net_.module_in(x.dtype), x).x.cpu().numpy()

        return fill

    def _given_to_hold_out(self, spec, X_val):
        """X_val, checked."""
        if X_val is None:
            return None
        if self.early_stopping is False:
            raise ValueError(
                "X_val holds rows out, but early_stopping=False asks for none. Leave one of them "
                "out."
            )
        return self._checked(X_val, spec.likelihood, self.likelihood)

    def _held_out(self, X, how, y, groups, X_val, seed):
        """Rows to train on, rows held out (None if none are), and epochs at most.

        `how` is what fills missing values, and the weights of the rows of X.
        """
        if X_val is not None:
            train = self._rows(X, np.arange(len(X)), *how)
            return train, self._rows(X_val, np.arange(len(X_val)), how[0]), self.max_iter
        if hasattr(self.early_stopping, "get_n_splits"):
            chosen = splitting.split_by(self.early_stopping, X, y, groups)
            return *(self._rows(X, rows, *how) for rows in chosen), self.max_iter
        of_split = self.early_stopping, self.validation_fraction, seed
        rows = splitting.split(len(X), *of_split, groups)
        train, valid = (self._rows(X, part, *how) for part in rows)
        plain = isinstance(train, Batch) and self._table is None
        if groups is not None or not plain or valid is None:
            return train, valid, self.max_iter
        size, distance = splitting.jump(train.x.cpu().numpy(), valid.x.cpu().numpy())
        if size < splitting.JUMP:
            return train, valid, self.max_iter
        return self._apart(Batch.joined([train, valid]), distance, of_split)

    def _apart(self, rows, distance, how):
        """As `_held_out`, for rows that are related.

        Neighbours within a distance are kept together.
        """
        train, valid = splitting.split(
            len(rows), "auto", *how[1:], splitting.linked(rows.x.cpu().numpy(), distance)
        )
        if valid is None:
            train, valid = splitting.split(len(rows), "auto", *how[1:])
            done, max_iter = "no split keeps them apart, so the model is left where it started", 0
        else:
            done, max_iter = "neighbours were kept on one side of the split", self.max_iter
        warnings.warn(
            f"{type(self).__name__}.fit found held-out rows much nearer to rows trained on than "
            "independent rows would be. They seem to be copies, repeated measurements or "
            f"overlapping windows, which tell nothing new: {done}. Say which rows belong together "
            "by fit(X, groups=...), or hold rows out by fit(X, X_val=...).",
            UserWarning,
            stacklevel=5,
        )
        return rows[train], rows[valid], max_iter

    def _train(
        self, spec, x, x_valid, max_iter, resume, seed, seeds, settle=True, start=None, tasks=None
    ):
        """Train a net, from the fitted one or from a start, and let the best become the model.

        With `start`, a net, from there.

        Returns
        -------
        still_improving : bool
            Whether `max_iter` ended a training that was improving.
        """
        filling = self._missing_filled_by()
        net = build_net(spec, self.scale_, resolve_device(self.device), seeds[1], filling)
        likelihood = net.module_.likelihood
        factor = likelihood.neutral_factor() if spec.objective.only_rebuilds else 1.0
        if factor != 1:
            likelihood.rescale_noise(1 / factor)
        if resume:
            state = net_state(self.net_)
            load_history(net, state)
        if start is not None:
            starts = [lambda net, *_: net.module_.load_state_dict(start.module_.state_dict())]
        elif resume:

            def go_on(net, *_):
                load_net_state(net, state)
                if factor != 1:
                    likelihood.rescale_noise(1 / factor)

            starts = [go_on]
        else:
            starts = starting_points(net.module_, seeds[2], spec.init, spec.objective.only_rebuilds)
        trainer = Trainer(
            net, x, x_valid, max_iter, Seeds(*seeds[3:]), self.n_iter_ if resume else 0
        )
        net.deadline_ = time.monotonic() + (np.inf if self.max_time is None else self.max_time)
        with net.fitting(), net.telling(tasks):
            best = best_net(trainer, starts, settle)
        self._take(net, best, seed, resume, factor)
        return best.still_improving

    def _rows(self, X, rows, fill, weight=None):
        """Rows of X as the net takes them, on the device."""
        if rows is None:
            return None
        device = resolve_device(self.device)
        take = RowsOnDisk if is_too_large(X, device) else rows_on_device
        how = self.mean_, self.scale_, self._feature_names(), device, fill, weight
        return take(X, rows, *how)

    def _take(self, net, best, seed, resume, factor):
        """Let a trained net become the fitted model.

        With the history of the run that was watched, in nats under the noise that was asked for and
        not the one that was trained with.
        """
        net.module_.eval()
        likelihood = net.module_.likelihood
        under = likelihood.rescale_noise(factor) if factor != 1 else float

        def loss(of_training):
            return under(of_training - net.log_scale) + net.log_scale

        n_before = len(getattr(self, "loss_curve_", ())) if resume else 0
        epochs = [epoch for epoch in best.epochs if "train_loss" in epoch]  # not one cut short

        def curve(name, attribute, of=loss):
            before = (n_before and getattr(self, attribute, None)) or [math.nan] * n_before
            values = [*before, *(of(epoch.get(name, math.nan)) for epoch in epochs)]
            return None if np.isnan(values).all() else values

        self.loss_curve_ = curve("train_loss", "loss_curve_") or []
        for part, of in (("loss", loss), ("reconstruction", loss), ("kl", float)):
            attribute = f"validation_{part}_curve_"
            setattr(self, attribute, curve(f"valid_{part}", attribute, of))
        last = best.losses.compared.mean().item() + net.log_scale
        self.best_loss_ = loss(best.watch.best_ if best.watch.epochs_ else last)
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else self.best_loss_
        self.n_iter_ = len(self.loss_curve_)
        if hasattr(self, "net_"):  # of an earlier fit, which may have had another likelihood
            for name in self.net_.module_.likelihood.learned():
                vars(self).pop(name, None)
        self.net_, self._spec, self._seed = net, kept(self.get_params(deep=False)), seed
        for name, value in likelihood.learned().items():
            setattr(self, name, self._of_all_features(value))

    def _attributes_of(self, net):
        """What makes a model of this estimator and a net that is in training.

        A net of its own, with the weights that this one has now.
        """
        params = kept(self.get_params(deep=False))
        how = self.scale_, torch.device(net.device), 0, self._missing_filled_by()
        own = build_net(Spec.of(params, self._table), *how)
        with net.settled():
            own.module_.load_state_dict(net.module_.state_dict())
        own.module_.eval()
        return {"net_": own, "_spec": params}

    def _of_all_features(self, value):
        """An array over the features of the model as one over all, 0 for those left out."""
        if not isinstance(value, np.ndarray):
            return value
        values = np.zeros(len(self.scale_))
        values[self.scale_ > 0] = value
        return values
