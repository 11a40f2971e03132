"""The order and the signs of the components.

p(x) is the same whatever the order and the signs of the components of z. They are fixed by a rule,
so that the first columns of z explain most, as those of PCA do, and two fits can be compared:

* **Order.** By the share of variance that a component explains, in decreasing order. The
  posterior's family may not allow every order (`Posterior.order`).
* **Sign.** Each component correlates positively with the column that its covariance is largest
  with, in the net's units. In a linear model that is the largest of its loadings.
"""

import numpy as np
import torch

from ..module import VAE


@torch.no_grad()
def put_in_order(
    module: VAE, explained: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give the components of a module their order and signs.

    p(x), the bound and what is rebuilt stay as they are.

    Parameters
    ----------
    module : VAE
    explained : ndarray of shape (d,)
        What each component explains.
    covariance : ndarray of shape (d, n_columns)
        Of the components with the columns of x.

    Returns
    -------
    order, signs : ndarray of shape (d,)
        Component j is now ``signs[j]`` times what component ``order[j]`` was.
    """
    family = module.posterior
    order = family.order(explained)
    largest = covariance[np.arange(len(order)), np.abs(covariance).argmax(axis=1)]
    signs = family.signs(np.where(largest[order] < 0, -1.0, 1.0))
    if module.missing is not None:
        module.missing.permute(order, signs)
    module.prior.permute(order, signs)
    module.encoder.permute_outputs(*family.permuted(order, signs))
    module.decoder.permute_inputs(order, signs)
    return order, signs
