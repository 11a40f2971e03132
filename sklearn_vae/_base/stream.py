"""Where a stream of blocks starts, and when it starts anew.

The first block may be small or off centre, and no row is held out. So the noise of its linear model
is raised to errors on rows that are new: those of a model of the first half of the block, on the
second half.

`Moments` of the rows are kept, and no row. Each time that the rows seen have grown by a quarter,
the linear model of all rows before the block competes with the net on the block. The block is new
to both. Where the linear model does better, training starts anew from there, with the centre and
scale of all rows. So a poor first block does no lasting harm. The comparisons do not cost much:
there are 62 in a million rows.

Where columns are of several kinds the linear model is one of what the encoder sees, such as an
indicator for each level of a category. The moments are then those of these numbers, in X's units.

Two kinds of streams go on from their first block and never start anew: those of more than 1,000
numbers in a row, and those with missing values in the first block. Moments do not tell the linear
model of incomplete rows, which takes EM over the rows themselves.
"""

import numpy as np
import torch
from sklearn.base import clone

from .. import selection
from ..likelihoods import Columns
from ..training import every_kth, resolve_device
from .data import chunks, is_too_large, rows_at_once, rows_on_device, some_rows
from .net import build_net

GROWTH = 1.25  # of the rows seen, from one look to the next


class Stream:
    """The linear models of a stream's rows, from their moments.

    Parameters
    ----------
    spec : Spec
    seeds : list of int
    n_features : int
    """

    def __init__(self, spec, seeds, n_features):
        self.spec, self.seeds, self.device = spec, seeds, resolve_device(spec.device)
        self.likelihood = clone(spec.likelihood).build(np.ones(n_features))
        models_inputs = spec.likelihood.models_inputs
        self.owner = self.likelihood.owner if models_inputs else np.arange(n_features)

    @property
    def may_start_anew(self):
        """Whether moments are kept, if the first block is complete."""
        return len(self.owner) <= selection.MOST_FEATURES and self.spec.init != "random"

    def moments(self, X, weight=None, before=None):
        """Those of the rows before and of complete rows X (n, n_features), by weight (n,)."""
        pieces = chunks(X) if is_too_large(X, self.device) else [slice(None)]
        for rows in pieces:
            block = self._modelled(X[rows]), None if weight is None else weight[rows]
            before = before.with_rows(*block) if before else selection.Moments.of(*block)
        return before

    def _modelled(self, X):
        """What the linear model is of, (n, n_modelled)."""
        if not self.spec.likelihood.models_inputs:
            return X
        return self.likelihood.encode(torch.from_numpy(X)).numpy()

    def scaling(self, moments):
        """What the rows that have these moments are centred and scaled by, (n_features,) each."""
        first = np.unique(self.owner, return_index=True)[1]
        variance = np.diag(moments.covariance)
        fields = moments.mean, variance, moments.lowest, moments.highest
        columns = Columns(*(field[first] for field in fields))
        return self.spec.likelihood.scaling(columns, self.spec.standardize)

    def first_net(self, moments, scaling, X, weight):
        """A net at the linear model of a first block, whose moments are given.

        Its noise is raised to the errors, on the second half, of the model of the first half.
        """
        halves = np.array_split(np.arange(len(X)), 2)
        old, new = (some_rows(X, half, self.device) for half in halves)
        before = self.moments(old, None if weight is None else weight[halves[0]])
        return self.net_at(moments, scaling, new, before)

    def net_at(self, moments, scaling, X, before=None):
        """A net at the linear model of the rows that have these moments.

        Parameters
        ----------
        moments : Moments

        scaling : pair of ndarray of shape (n_features,)
            What the features are centred and scaled by.

        X : ndarray of shape (n, n_features)
            Rows by whose errors the noise is raised.

        before : Moments, optional
            Those of rows without X, by whose linear model the errors are made; `moments` if not
            given.

        Returns
        -------
        VAENet
        """
        net = reference = self._at(moments, scaling)
        if before is not None:
            reference = self._at(before, scaling)
        rows = self._rows(X, scaling)
        selection.raise_noise_to(net.module_, reference.module_, rows)
        return net

    def _at(self, moments, scaling):
        mean, scale = scaling
        net = build_net(self.spec, scale, self.device, self.seeds[1])
        start = selection.starting_points(net.module_, self.seeds[2], self.spec.init)[0]
        start(net, moments.scaled(mean[self.owner], scale[self.owner]))
        return net

    def loss_on(self, net, X, scaling):
        """Mean loss of a net on rows that it was not trained on, in nats and X's units."""
        return net.sample_losses(self._rows(X, scaling)).mean().item() + net.log_scale

    def _rows(self, X, scaling):
        """Rows of X as a net of this scale takes them: some, where they are not in memory."""
        if is_too_large(X, self.device):
            X = X[every_kth(X, rows_at_once(X))]
        return rows_on_device(X, np.arange(len(X)), *scaling, range(X.shape[1]), self.device)
