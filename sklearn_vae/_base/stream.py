"""Where a stream of blocks starts, and when it starts anew.

The first block may be small or off centre, and no row is held out. So the noise of its linear model
is raised to errors on rows that are new: those of a model of the first half of the block, on the
second half.

`Moments` of the rows are kept, and no row. Each time that the rows seen have grown by a quarter,
the linear model of all rows before the block competes with the net on the block. The block is new
to both. Where the linear model does better, training starts anew from there, with the centre and
scale of all rows. So a poor first block does no lasting harm. The comparisons do not cost much:
there are 62 in a million rows. With more than 1,000 features training goes on from the first block.
"""

import numpy as np
import torch

from .. import selection
from ..likelihoods import Columns
from ..training import resolve_device
from .data import rows_on_device
from .net import build_net

GROWTH = 1.25  # of the rows seen, from one look to the next


def begins(spec, X, weight=None):
    """The moments of a complete first block X (n, n_features), or None if they are not kept."""
    if (
        X.shape[1] > selection.MOST_FEATURES
        or spec.init == "random"
        or spec.likelihood.models_inputs
    ):
        return None
    return selection.Moments.of(X, weight)


def scale_from(spec, moments):
    """What the rows that have these moments are centred and scaled by, (n_features,) each."""
    variance = np.diag(moments.covariance)
    columns = Columns(moments.mean, variance, moments.lowest, moments.highest)
    return spec.likelihood.scaling(columns, spec.standardize)


def start_of(spec, moments, mean, scale, seeds, X, before=None):
    """A net at the linear model of the rows that have these moments.

    Parameters
    ----------
    spec : Spec
    moments : Moments

    mean, scale : ndarray of shape (n_features,)
        What the features are centred and scaled by.

    seeds : list of int
    X : ndarray of shape (n, n_features)
        Rows by whose errors the noise is raised.

    before : Moments, optional
        Those of rows without X, by whose linear model the errors are made; `moments` if not given.

    Returns
    -------
    VAENet
    """
    device = resolve_device(spec.device)
    net = build_net(spec, scale, device, seeds[1])
    start = selection.starting_points(net.module_, seeds[2], spec.init)[0]
    start(net, moments.scaled(mean, scale))
    reference = net
    if before is not None:
        reference = build_net(spec, scale, device, seeds[1])
        start(reference, before.scaled(mean, scale))
    selection.raise_noise_to(net.module_, reference.module_, rows(X, mean, scale, device))
    return net


def rows(X, mean, scale, device):
    """Rows of X as a net of this scale takes them."""
    return rows_on_device(X, np.arange(len(X)), mean, scale, range(X.shape[1]), device)


def loss_on(net, X, mean, scale):
    """Mean loss of a net on a block that it has not been trained on, in nats and X's units."""
    return (
        net.sample_losses(rows(X, mean, scale, torch.device(net.device))).mean().item()
        + net.log_scale
    )
