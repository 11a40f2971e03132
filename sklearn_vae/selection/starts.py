"""Where training may start: which starts there are follows from the likelihood and the networks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..batch import Batch
from ..module import VAE
from ..training import VAENet, thinned
from .evidence import COMPARED
from .linear import (
    LinearModel,
    Weighted,
    do_rows_tell_the_noise,
    linear_model,
    projection,
    refit_noise,
    sharp_model,
    start_at,
)
from .missing import incomplete_model
from .moments import MOST_FEATURES, Moments

SAMPLED = 100_000  # rows at most, from which a linear model is found
SAMPLED_INCOMPLETE = 10_000  # the same, where values are missing
IN_DOUBLE = 2**22  # numbers at most, for which that is done in float64


def starting_points(
    module: VAE, seed: int, init: str = "auto", only_rebuilds: bool = False
) -> list[Callable]:
    """Functions that take a fresh net to where its training may start.

    They are called as ``f(net, x, x_valid, train)``.

    Parameters
    ----------
    module : VAE
        As it was built. It is read and not changed.
    seed : int
        For randomised solvers.

    init : {"auto", "random"}
    only_rebuilds : bool
        Whether the KL does not count, so that PCA's projection is the best linear model.

    Returns
    -------
    list of callable
        The start that every fit takes, and then those that need held-out rows to compete. The first
        takes `Moments` in the place of rows x as well.
    """
    likelihood, d = module.likelihood, module.n_components
    noise, name = likelihood.noise, likelihood.linear_model
    if name == "log_linear" and likelihood.n_features > MOST_FEATURES:
        name = "mean"
    variance = None if noise is None else noise.variance.detach().cpu().double().numpy()

    def linear(net: VAENet, x: Batch | Moments, x_valid: Batch | None = None, *_: Any) -> None:
        is_told = x_valid is None or do_rows_tell_the_noise(x, likelihood.n_features)
        if name == "known_noise" and only_rebuilds:
            start_at(net.module_, projection(_sample(x), d, variance, seed))
        else:
            start_at(net.module_, model_of(module, name, x, seed, variance, x_valid))
        if not is_told and noise is not None and noise.is_learned:
            refit_noise(net.module_, net.module_, thinned(x_valid, COMPARED))

    def at_the_mean(net: VAENet, x: Batch | Moments, *_: Any) -> None:
        _, bias = net.module_.likelihood.start(model_of(module, "mean", x, seed))
        with torch.no_grad():
            net.module_.decoder.linear.bias.copy_(bias)

    def sharp(net: VAENet, x: Batch, x_valid: Batch, train: Callable[[VAENet], bool]) -> None:
        start_at(net.module_, sharp_model(_sample(x), d, seed))

        def fit_noise() -> None:
            refit_noise(net.module_, net.module_, thinned(x_valid, COMPARED))

        net.module_.likelihood.requires_grad_(False)
        with net.ending_with(fit_noise):
            is_promising = train(net)
        net.module_.likelihood.requires_grad_(True)
        if is_promising:
            fit_noise()

    if init == "random" or name is None:
        return [as_drawn]
    if name == "mean":
        return [at_the_mean]
    may_bend = noise is not None and noise.is_learned and not module.is_linear
    # With as many components as features the linear model leaves nothing to be explained.
    return [linear, sharp] if may_bend and d < likelihood.n_features else [linear]


def as_drawn(net: VAENet, *_: Any) -> None:
    """Start at the random weights that the net has."""


def model_of(
    module: VAE,
    name: str,
    x: Batch | Moments,
    seed: int,
    variance: np.ndarray | None = None,
    x_valid: Batch | None = None,
) -> LinearModel:
    """The linear model of a name, of rows that may have weights and missing values.

    Parameters
    ----------
    module : VAE
    name : str
        In `LINEAR_MODELS`.
    x : Batch or Moments
    seed : int

    variance : ndarray of shape (n_features,), optional
        The fixed noise of "known_noise".
    x_valid : Batch, optional
        Held-out rows, which tell when to end where values are missing.

    Returns
    -------
    LinearModel
    """
    d = module.n_components
    if module.likelihood.models_inputs and not isinstance(x, Moments):
        some = thinned(x, SAMPLED)
        encoded = replace(some, x=module.likelihood.encode(some.x), observed=None)
        return linear_model(name, _sample(encoded), d, seed)
    if isinstance(x, Moments) or x[:1].observed is None:
        return linear_model(name, _sample(x), d, seed, variance)
    rows, weight = _with_nan(x)
    if module.is_linear:
        return incomplete_model(name, rows, d, variance, weight, exact=True)
    held_out = None if x_valid is None else _with_nan(x_valid)[0]
    has_prior = name == "factor_analysis"
    return incomplete_model(name, rows, d, variance, weight, held_out, has_prior=has_prior)


def _with_nan(rows: Batch) -> tuple[np.ndarray, np.ndarray | None]:
    """Some of the rows as an array, NaN where a value is missing, and their weights."""
    some = thinned(rows, SAMPLED_INCOMPLETE)
    x = torch.where(some.observed > 0, some.x, torch.nan).double().cpu().numpy()
    return x, None if some.weight is None else some.weight.double().cpu().numpy()


def _sample(x: Batch | Moments) -> np.ndarray | Moments | Weighted:
    """Some of the rows as an array, with their weights if they have some; or their moments."""
    if isinstance(x, Moments):
        return x
    some = thinned(x, SAMPLED)
    rows = some.x.cpu().numpy()
    # In float32 the smallest eigenvalues would be rounding; a large table has none so small.
    rows = rows.astype(np.float64) if rows.size <= IN_DOUBLE else rows
    return rows if some.weight is None else Weighted(rows, some.weight.double().cpu().numpy())
