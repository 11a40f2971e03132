r"""The noise around a mean, which a likelihood of real numbers owns.

    sigma^2(z) = sigma^2 r^g max(1, r / R)^max(0, 1 - g),  r = (1 + |z|^2 / d) / 2

so sigma^2 is the variance where |z|^2 is d, its mean under the prior. With g = 0 the noise is the
same everywhere, as in probabilistic PCA and factor analysis. Heavy-tailed data have outliers, which
no model rebuilds as well as the rest. An outlier costs |x - mean|^2 / (2 sigma^2) nats where the
noise does not grow, and about D/2 log |x - mean|^2 where it does. Beyond R the model extrapolates.
All that is known of its errors there is that they grow at least in proportion to the distance, as
those of any wrong slope do.

Training finds sigma^2 where it is learned. The rest is settled last (`Noise.calibrate`), by rows
new to the networks.

**Growth.** g is the slope of log squared error on log distance over the held-out rows (Harvey
1976). Ridge regression finds it with a prior N(0, 1), so that few rows give little. g is dropped
where the held-out rows lose by it, by more than two standard errors. They may: if components tell
nothing, the distance of the posterior mean says little about that of the draws. Then sigma^2 is
scaled. The squared errors over the rows trained on remain the same multiple of the noise.

**Lowering.** Then sigma^2 is lowered to the mean squared error over draws of z, if that is less. A
training of few steps ends before sigma^2 has come down. And growth may account for the largest
errors, which have held sigma^2 up. The rows trained on and those held out have to agree: the larger
mean of the two counts. That of the held-out rows, which are new to the weights used, is taken two
standard errors higher.

**Margin.** Then sigma^2 is raised by what may be missing from it. Too little noise costs more than
too much: a density that expects too little loses without bound on outliers beyond those it has
seen. A variance that is r times too large loses only D/2 (log r + 1/r - 1) nats. Two things may be
missing.

The first are outliers that were trained on and too rarely held out. They show at the start, whose
mean squared error over the rows trained on exceeds that over the held-out rows. This excess is
multiplied by the slope of the errors now on those at the start (the regression estimator of
sampling, Cochran 1977, chapter 7), and sigma^2 is raised by the product. The slope is 1 where the
networks rebuild those rows no better than the start. With noise per feature the product is the
median over features.

The second is a row of a kind yet to come. The networks rebuild it no better than the first start
rebuilds the others. It counts as one more row, as under a conjugate prior that is worth one row:
sigma^2 <- (n sigma^2 + max(sigma_0^2, sigma^2)) / (n + 1).

**Extrapolation.** R is the value of r at the farthest row in training, or at the farthest of as
many draws from the prior.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import chdtri
from torch import Tensor, nn

from ..batch import Batch
from .base import bounded, log_distance, unbounded

# What networks in float32 can hold: a tenth of their rounding is 1e-12 or less.
SMALLEST_NOISE = 1e-10
STARTING_NOISE = 0.1  # a variance started at 1 can collapse for good on a curved surface


class Rebuilt(NamedTuple):
    """Rows x (n, n_features), what the posterior mean z (n, d) is decoded to, and z.

    `rows` are those rows.
    """

    rows: Batch
    mean: Tensor
    z: Tensor


class Noise(nn.Module):
    """The variance sigma^2(z) of the noise.

    Parameters
    ----------
    n_features : int

    variance : {"shared", "per_feature"} or array-like of shape (n_features,)
        sigma^2: learned, one for all features or one for each; or fixed at these values.

    growth : "auto" or float
        g: to be measured when training ends, if sigma^2 is learned; or fixed at this value.

    Attributes
    ----------
    is_learned : bool
        Whether sigma^2 is learned.
    growth : float
        g.
    farthest : float
        R: infinite until training ends, and where g is fixed.
    """

    def __init__(
        self, n_features: int, variance: str | np.ndarray = "shared", growth: str | float = "auto"
    ):
        super().__init__()
        self.is_learned = isinstance(variance, str)
        self.measures_growth = growth == "auto" and self.is_learned
        self.growth = 0.0 if growth == "auto" else float(growth)
        self.farthest = math.inf
        if self.is_learned:
            shape = {"shared": (), "per_feature": (n_features,)}[variance]
            self.log_variance = nn.Parameter(torch.empty(shape))
            self.set(torch.full(shape, STARTING_NOISE))
        else:
            self.register_buffer("log_variance", torch.empty(n_features))
            self._set(torch.as_tensor(variance, dtype=torch.float32))

    @property
    def variance(self) -> Tensor:
        """sigma^2, of shape () or (n_features,)."""
        return torch.exp(bounded(self.log_variance))

    def set(self, variance: Tensor) -> None:
        """Set sigma^2, if it is learned; its mean if there is but one."""
        if self.is_learned:
            self._set(variance)

    @torch.no_grad()
    def _set(self, variance: Tensor) -> None:
        self.log_variance.copy_(
            unbounded(torch.log(variance if self.log_variance.ndim else variance.mean()))
        )

    def rescale(self, factor: float) -> None:
        """Multiply sigma^2 by a factor, be it learned or fixed."""
        self._set(self.variance * factor)

    def is_gone(self) -> bool:
        """Whether training has brought a learned sigma^2 down to next to nothing."""
        return self.is_learned and bool(self.variance.min() < 10 * SMALLEST_NOISE)

    @property
    def is_constant(self) -> bool:
        """Whether sigma^2(z) is sigma^2 everywhere."""
        return not self.growth and self.farthest == math.inf

    def log_growth(self, z: Tensor) -> Tensor:
        """Log sigma^2(z) - log sigma^2 at z (..., d), of shape (..., 1)."""
        distance = log_distance(z)
        growth = self.growth * distance
        if self.farthest < math.inf and self.growth < 1:
            growth = growth + (1 - self.growth) * (distance - math.log(self.farthest)).clamp(min=0)
        return growth

    def log_variance_at(self, z: Tensor | None) -> Tensor:
        """Log sigma^2(z), of a shape that broadcasts to (..., n_features)."""
        log_variance = bounded(self.log_variance)
        return log_variance if self.is_constant else log_variance + self.log_growth(z)

    # --- when training ends -----------------------------------------------------------------------

    @torch.no_grad()
    def calibrate(self, evidence: NamedTuple) -> None:
        """Settle a learned sigma^2, g and R by rows new to the networks.

        g and R stay as they are in a linear model, which is probabilistic PCA or factor analysis.

        Parameters
        ----------
        evidence : sklearn_vae.selection.Evidence
        """
        if not self.is_learned:
            return
        measures_growth = self.measures_growth and not evidence.is_linear
        now = evidence.trained(), evidence.held_out()
        if measures_growth:
            self.grow(evidence, now[0])
        if not evidence.is_linear:
            self.lower(evidence)
        self.add_margin(evidence, now)
        if measures_growth:
            self.farthest = farthest(torch.cat([rows.z for rows in now]), evidence.n)

    def grow(self, evidence: NamedTuple, trained: Rebuilt) -> None:
        """Let sigma^2(z) grow as held-out rows say, unless they clearly lose by it.

        `trained` are the rows trained on, as the networks rebuild them now.

        The weights used were not trained on the held-out rows. Weights that were have smaller
        errors there than on new rows at the same distance.
        """
        with evidence.watched():
            growth, before = self.growth_over(evidence.held_out()), evidence.losses()
            self._set_growth(growth, evidence.trained())
            gain = before - evidence.losses()
        if evidence.verdict(gain) >= 0:
            self._set_growth(growth, trained)

    def lower(self, evidence: NamedTuple) -> None:
        """Lower sigma^2 to the most that may suit all rows, if that is less.

        For the held-out rows that is two standard errors above their mean squared error.
        """
        variance, growth = self.variance, self.growth
        with evidence.watched():
            self.set(variance)
            self.growth = growth
            errors = self._errors_of_draws(evidence, evidence.x_valid)
        most = errors.mean() + evidence.doubt(errors)
        if most < 1:  # not for NaN, of a single row, which tells too little
            of_trained = self._errors_of_draws(evidence, evidence.x).mean()
            self.rescale(torch.maximum(most, of_trained).clamp(max=1))

    def _errors_of_draws(self, evidence: NamedTuple, rows: Batch) -> Tensor:
        """Squared errors of rows as shares of sigma^2(z), the means over draws and features, (n,).

        Each times its row's weight.
        """
        rebuilt = evidence.drawn(rows)
        errors = rebuilt.rows.weighed(self.errors(rebuilt).mean(1))
        return errors.view(-1, len(rows)).mean(0)

    def _set_growth(self, growth: float, trained: Rebuilt) -> None:
        """Set g, the mean of the errors over the rows trained on unchanged."""
        before = trained.rows.mean(self.errors(trained)).mean()
        self.growth = growth
        self.rescale(trained.rows.mean(self.errors(trained)).mean() / before)

    def add_margin(self, evidence: NamedTuple, rebuilt: tuple[Rebuilt, Rebuilt]) -> None:
        """Raise sigma^2 by what may be missing from it.

        `rebuilt` are the rows trained on and those held out, as the networks rebuild them now.
        """
        trained, held_out = evidence.at_start()
        parts = trained.rows, held_out.rows
        errors = self.errors(trained), self.errors(held_out)
        missed = parts[0].mean(errors[0]) - parts[1].mean(errors[1])
        before, now = torch.cat(errors), torch.cat([self.errors(rows) for rows in rebuilt])
        missed = missed * slope(before, now, weight=_weights(*parts)).clamp(0, 1)
        noise = self.variance * (1 + missed.median().clamp(min=0))
        unknown = trained.rows.mean(squares(trained))
        unknown = torch.maximum(unknown if noise.ndim else unknown.mean(), noise)
        self.set((evidence.n * noise + unknown) / (evidence.n + 1))

    def errors(self, rebuilt: Rebuilt) -> Tensor:
        """Squared errors as shares of sigma^2(z), (n, n_features).

        Where sigma^2 is shared their means over features, (n, 1).
        """
        error = squares(rebuilt) / torch.exp(self.log_variance_at(rebuilt.z))
        error = error.clamp(min=SMALLEST_NOISE)
        return error if self.log_variance.ndim else error.mean(1, keepdim=True)

    def growth_over(self, rebuilt: Rebuilt) -> float:
        """The slope of log squared error on log distance, if positive.

        It is shrunk as by a prior N(0, 1).
        """
        distance = log_distance(rebuilt.z).double()
        error = self.errors(rebuilt).double().mean(1, keepdim=True).log()
        error = error + self.log_growth(rebuilt.z)
        rows = rebuilt.rows
        prior = rows.mean((error - rows.mean(error)).square())
        return max(0.0, slope(distance, error, prior, rows.weight).item())

    # --- what is kept -----------------------------------------------------------------------------

    def learned(self, scale: np.ndarray) -> dict:
        """Fitted attributes, in the units of x times `scale` (n_features,)."""
        variance = self.variance.detach().cpu().double().numpy() * scale**2
        return {
            "noise_variance_": variance,
            "noise_growth_": self.growth,
            "noise_reach_": self.farthest,
        }

    def get_extra_state(self) -> Tensor:
        # Saved numbers are finite; 0 stands for infinity, since R is at least 1/2.
        farthest = self.farthest if self.farthest < math.inf else 0.0
        return torch.tensor([self.growth, farthest], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        self.growth, farthest = state.tolist()
        self.farthest = farthest or math.inf


def squares(rebuilt: Rebuilt) -> Tensor:
    """Squared errors (n, n_features); where a value is missing, the mean of its feature."""
    error, observed = (rebuilt.rows.x - rebuilt.mean).square(), rebuilt.rows.observed
    if observed is None:
        return error
    usual = (error * observed).sum(0) / observed.sum(0).clamp(min=1)
    return torch.where(observed > 0, error, usual)


def slope(
    x: Tensor, y: Tensor, prior: float | Tensor = 0.0, weight: Tensor | None = None
) -> Tensor:
    """The slope of y on x over rows, (n, k) each, of shape (k,): by ridge regression.

    With weights (n,), whose mean is taken for 1.
    """
    share = 1.0 if weight is None else (weight / weight.mean()).to(x)[:, None]
    a, b = x - (share * x).mean(0), y - (share * y).mean(0)
    squares = (share * a.square()).sum(0) + prior
    return (share * a * b).sum(0) / squares.clamp(min=SMALLEST_NOISE)


def _weights(*parts: Batch) -> Tensor | None:
    """The weights of all rows of some batches, or None where all count alike."""
    if all(rows.weight is None for rows in parts):
        return None
    return torch.cat(
        [torch.ones(len(rows)).to(rows.x) if rows.weight is None else rows.weight for rows in parts]
    )


def farthest(z: Tensor, n: int) -> float:
    """R: (1 + |z|^2 / d) / 2 at the farthest of z (n_rows, d), or of n draws from the prior."""
    of_prior = chdtri(z.shape[1], 1 / n) / z.shape[1]  # the quantile 1 - 1 / n of |z|^2 / d
    return float(1 + max(z.square().mean(1).max().item(), of_prior)) / 2
