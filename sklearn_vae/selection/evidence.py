"""What is known of a net when its training ends, for a likelihood to calibrate itself."""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..batch import Batch
from ..likelihoods import Rebuilt
from ..training import Snapshot, VAENet

STANDARD_ERRORS = 2
DRAWN = 500  # rows at least, counting each draw, by which draws are judged
COMPARED = 10_000  # rows at most, by which starts and noise are compared


def doubt(values: Tensor) -> Tensor:
    """Two standard errors of the mean of values (n,); NaN of a single one."""
    return STANDARD_ERRORS * values.std() / len(values) ** 0.5


def verdict(gain: Tensor) -> int:
    """The sign of the mean of the nats gained on each row.

    0 where two standard errors or one row leave it open.
    """
    if len(gain) < 2:
        return 0
    mean = gain.mean()
    return int(mean.sign()) if mean.abs() > doubt(gain) else 0


class Evidence(NamedTuple):
    """A trained net, its weights before a refit, and the rows that it was and was not trained on.

    Attributes
    ----------
    net : VAENet
        Whose likelihood is calibrated.
    weights, start : Snapshot
        Of the net's module before it was trained on the held-out rows, and where the training from
        the first start began.
    x, x_valid : Batch
        Rows trained on and rows held out, some of them.
    n : int
        How many rows there are.
    columns : Tensor or None
        Those that are asked about; None for all.
    """

    net: VAENet
    weights: Snapshot
    start: Snapshot
    x: Batch
    x_valid: Batch
    n: int
    columns: Tensor | None = None

    @property
    def is_linear(self) -> bool:
        """Whether the networks are linear maps."""
        return self.net.module_.is_linear

    def watched(self) -> AbstractContextManager:
        """A context in which the net has weights that were not trained on the held-out rows."""
        return self.net.holding(self.weights)

    def of(self, columns: Tensor) -> "Evidence":
        """The evidence about some of the columns."""
        return self._replace(columns=columns)

    def losses(self) -> Tensor:
        """The net's loss on each held-out row, in nats."""
        return self.net.sample_losses(self.x_valid)

    def verdict(self, gain: Tensor) -> int:
        """1 or -1 where the nats gained on each row are clearly so in the mean, else 0."""
        return verdict(gain)

    def doubt(self, values: Tensor) -> Tensor:
        """Two standard errors of the mean of a value of each row; NaN of a single one."""
        return doubt(values)

    def trained(self) -> Rebuilt:
        """The rows trained on, rebuilt by the net."""
        return self._rebuilt(self.x)

    def held_out(self) -> Rebuilt:
        """The rows held out, rebuilt by the net."""
        return self._rebuilt(self.x_valid)

    def at_start(self) -> tuple[Rebuilt, Rebuilt]:
        """The rows trained on and those held out, rebuilt where the first training started."""
        with self.net.holding(self.start):
            return self.trained(), self.held_out()

    def drawn(self, rows: Batch) -> Rebuilt:
        """Rows, some of them several times, rebuilt from draws of z."""
        rows = Batch.joined([rows] * max(1, DRAWN // len(rows)))
        generator = torch.Generator().manual_seed(0)
        eps = torch.randn(len(rows), self.net.module__n_components, generator=generator)
        return self._rebuilt(rows, eps.to(rows.x))

    @torch.no_grad()
    def _rebuilt(self, rows: Batch, eps: Tensor | None = None) -> Rebuilt:
        module = self.net.module_
        q = module.encode(rows)
        z = q.mean if eps is None else q.rsample(eps)
        mean, j = module.decode(z, rows.condition).mean, self.columns
        if j is None:
            return Rebuilt(rows, mean, z)
        observed = None if rows.observed is None else rows.observed[:, j]
        return Rebuilt(replace(rows, x=rows.x[:, j], observed=observed), mean[:, j], z)
