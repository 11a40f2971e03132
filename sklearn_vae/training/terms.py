r"""The parts of the held-out loss: the reconstruction and the KL.

They are noted in each validation, in nats per sample and with the weight 1, whatever the objective:

    valid_reconstruction = -E_q[log p(x | z)]       valid_kl = KL(q(z | x) || p(z))

over the draws of z that the loss is found by. Their sum is minus the evidence lower bound of the
held-out rows, and the loss where the objective is the ELBO with its defaults. With another beta the
loss is valid_reconstruction + beta valid_kl. With free bits, and with the objectives `IWAE` and
`InfoVAE`, they do not add up to the loss.
"""

from operator import mul
from typing import Any

import torch
from torch import Tensor

from ..batch import Batch
from ..module import VAEOutput
from ..objectives import reconstruction

TERMS = "valid_reconstruction", "valid_kl"


class Terms:
    """The parts of the loss in one validation, batch by batch."""

    def __init__(self):
        self.noted: list[tuple] = []
        self._means: dict[str, float] = {}

    def add(self, terms: tuple[float, float] | Tensor, total: float) -> None:
        """Note both of a batch, whose rows count `total` together."""
        self.noted.append((terms, total))
        self._means = {}

    def add_output(self, output: Any, rows: Batch, log_scale: float) -> None:
        """Note what a module gave for a batch, if it is a `VAEOutput`."""
        if isinstance(output, VAEOutput):
            given = log_scale - reconstruction(output, rows), output.prior.kl(output.q)
            terms = rows.mean(torch.stack(given, -1)).detach()
            self.add(terms.tolist() if terms.device.type == "cpu" else terms, rows.total)

    def means(self) -> dict[str, float]:
        """The means over all batches, fetched from the device once; empty if nothing was noted."""
        if self._means or not self.noted:
            return self._means
        terms, totals = zip(*self.noted, strict=True)
        if isinstance(terms[0], Tensor):
            terms = torch.stack(terms).tolist()
        means = (sum(map(mul, each, totals)) / sum(totals) for each in zip(*terms, strict=True))
        self._means = dict(zip(TERMS, means, strict=True))
        return self._means
