r"""The likelihood of categories: columns of codes 0, 1, ..., C - 1.

    log p(x | z) = eta_x - log sum_c exp(eta_c)

for the C logits eta that the decoder gives for a column. The encoder sees a column as C indicators.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from .base import Likelihood, float32

LEAST_SHARE = 1e-3  # of a level, for the logits at the start


class Categories(Distribution):
    """Independent categorical columns.

    Parameters
    ----------
    logits : Tensor of shape (..., n_columns, most_levels)
        -inf for the levels that a column does not have.
    """

    arg_constraints = {}

    def __init__(self, logits: Tensor):
        self.log_probs = torch.log_softmax(logits, -1)
        super().__init__(logits.shape[:-1], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of codes (..., n_columns), in nats."""
        shape = torch.broadcast_shapes(value.shape, self.log_probs.shape[:-1])
        index = value.long().expand(shape)[..., None]
        return self.log_probs.expand(*shape, -1).gather(-1, index)[..., 0]

    @property
    def mean(self) -> Tensor:
        """The most likely codes."""
        return self.log_probs.argmax(-1).to(self.log_probs.dtype)

    @property
    def probs(self) -> Tensor:
        """The probability of each level, (..., n_columns, most_levels)."""
        return self.log_probs.exp()


class Categorical(Likelihood):
    """Categories, as codes 0 to C - 1; what is rebuilt of them is the most likely one.

    Parameters
    ----------
    n_levels : sequence of int
        C of each column.
    """

    support = "the codes of its categories"
    remedy = "give the categories that the fit knows"
    linear_model = "correlation_pca"
    models_inputs = True

    def __init__(self, n_levels: Sequence[int] = (2,)):
        super().__init__()
        self.n_levels = n_levels

    def build(self, scale: np.ndarray) -> "Categorical":
        most = max(self.n_levels)
        has = torch.arange(most) < torch.tensor(self.n_levels)[:, None]
        # Where the numbers of a column's levels are, of all numbers in a row; 0 where it has none.
        index = torch.zeros(has.shape, dtype=torch.long)
        index[has] = torch.arange(sum(self.n_levels))
        self.register_buffer("has", has)
        self.register_buffer("index", index)
        return super().build(scale)

    @property
    def n_numbers(self) -> int:
        return int(sum(self.n_levels))

    @property
    def n_inputs(self) -> int:
        return self.n_numbers

    @property
    def owner(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.n_levels)), self.n_levels)

    def supports(self, X: np.ndarray) -> np.ndarray:
        return (X >= 0) & (np.floor(X) == X) & (np.asarray(self.n_levels) > X)

    def encode(self, x: Tensor) -> Tensor:
        """Indicators of the levels, (n, n_inputs)."""
        codes = torch.arange(self.has.shape[1], device=x.device)
        return (x[..., None] == codes).to(x.dtype)[..., self.has]

    @property
    def levels(self) -> np.ndarray:
        return np.asarray(self.n_levels)

    def one_hot(self, x: Tensor) -> Tensor:
        return self.encode(x)

    def one_hot_mean(self, p: Categories) -> Tensor:
        return p.probs[..., self.has]

    def one_hot_variance(self, p: Categories) -> Tensor:
        share = self.one_hot_mean(p)
        return share * (1 - share)

    def typical(self, x: np.ndarray) -> np.ndarray:
        """The most frequent code of each column."""
        counts = [np.bincount(c[~np.isnan(c)].astype(int), minlength=1) for c in x.T]
        return np.array([count.argmax() for count in counts], dtype=np.float64)

    def start(self, model) -> tuple[Tensor, Tensor]:
        r"""The logits whose probabilities are those of the linear model, to first order.

        With E[u_c | z] = p_c + w_c^T z for the indicator u_c they are log p_c + w_c^T z / p_c.
        """
        share = np.maximum(model.mean, LEAST_SHARE)
        return float32(model.loadings / share[:, None]), float32(np.log(share))

    def forward(self, numbers: Tensor, z: Tensor | None = None) -> Categories:
        logits = numbers[..., self.index].masked_fill(~self.has, -torch.inf)
        return Categories(logits)

    def mean_over(self, p: Categories, weights: Tensor) -> Tensor:
        """The most likely codes: of the mean of the probabilities, not the mean of codes."""
        return torch.einsum("kn,knjc->njc", weights, p.probs).argmax(-1).to(weights.dtype)

    def draw(self, p: Categories, rng: np.random.RandomState) -> np.ndarray:
        cumulated = p.probs.cumsum(-1).cpu().numpy()
        u = rng.random_sample(cumulated.shape[:-1])[..., None]
        below = (cumulated < u * cumulated[..., -1:]).sum(-1)
        return np.minimum(below, np.asarray(self.n_levels) - 1).astype(np.float64)
