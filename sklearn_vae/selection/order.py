"""The order and the signs of the components.

p(x) is the same whatever the order and the signs of the components of z. They are fixed by a rule,
so that the first columns of z tell most of a sample, as those of PCA do, and two fits can be
compared:

* **Order.** By the nats that a component tells, in decreasing order. They are the mean over rows of
  its marginal KL 1/2 (mu_j^2 + (L L^T)_jj - log (L L^T)_jj - 1). The posterior's family may not
  allow every order (`Posterior.order`).
* **Sign.** Each component correlates positively with the feature that its covariance is largest
  with, in the net's units. In a linear model that is the largest of its loadings.
"""

import numpy as np
import torch

from ..batch import Batch
from ..module import VAE


@torch.no_grad()
def put_in_order(module: VAE, rows: Batch) -> None:
    """Give the components of a module their order and signs, by rows.

    p(x), the bound and what is rebuilt stay as they are.
    """
    q = module.encode(rows)
    told = rows.mean(q.mean.square() + q.variance - q.variance.log()).double().cpu().numpy()
    family = module.posterior
    order = family.order(told)
    away = rows.x - rows.mean(rows.x)
    if rows.weight is not None:
        away = away * rows.weight[:, None]
    covariance = (q.mean - rows.mean(q.mean)).T @ away
    largest = (
        covariance.gather(1, covariance.abs().argmax(1, keepdim=True))[:, 0].double().cpu().numpy()
    )
    signs = family.signs(np.where(largest[order] < 0, -1.0, 1.0))
    if module.missing is not None:
        module.missing.permute(order, signs)
    module.prior.permute(order, signs)
    module.encoder.permute_outputs(*family.permuted(order, signs))
    module.decoder.permute_inputs(order, signs)
