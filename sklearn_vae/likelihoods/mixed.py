r"""The likelihood of columns of several kinds: a product over blocks of columns.

    log p(x | z) = sum_blocks sum_j log p_block(x_j | z)

Each block is a likelihood of its own and answers the hooks for its columns; here they are only
passed on.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .base import Columns, Likelihood


class Product(Distribution):
    """Independent blocks of columns, each with a distribution.

    Parameters
    ----------
    parts : list of Distribution
    order : Tensor of shape (n_features,)
        Where the columns of the table are, among those of all parts one after the other.
    index : list of Tensor
        Which columns of the table each part has.
    """

    arg_constraints = {}

    def __init__(self, parts: list[Distribution], order: Tensor, index: list[Tensor]):
        self.parts, self.order, self.index = parts, order, index
        shape = parts[0].batch_shape[:-1]
        super().__init__(torch.Size([*shape, len(order)]), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        pairs = zip(self.parts, self.index, strict=True)
        return torch.cat([p.log_prob(value[..., j]) for p, j in pairs], -1)[..., self.order]

    @property
    def mean(self) -> Tensor:
        return torch.cat([p.mean for p in self.parts], -1)[..., self.order]


class Mixed(Likelihood):
    """A likelihood for each block of columns.

    Parameters
    ----------
    blocks : sequence of (Likelihood, sequence of int)
        Likelihoods and the columns that they are of; every column is in one block.
    """

    support = "what the likelihood of its column takes"
    remedy = "give it another likelihood"
    linear_model = "correlation_pca"
    models_inputs = True

    def __init__(self, blocks: Sequence = ()):
        super().__init__()
        self.blocks = blocks
        self.parts = nn.ModuleList(part for part, _ in blocks)

    def _columns(self) -> list[np.ndarray]:
        return [np.asarray(columns) for _, columns in self.blocks]

    def build(self, scale: np.ndarray) -> "Mixed":
        columns = self._columns()
        for name, j in enumerate(columns):
            self.register_buffer(f"columns_{name}", torch.as_tensor(j))
            self.parts[name].build(scale[j])
        self.register_buffer("order", torch.as_tensor(np.argsort(np.concatenate(columns))))
        return super().build(scale)

    @property
    def index(self) -> list[Tensor]:
        """Which columns each part has."""
        return [getattr(self, f"columns_{name}") for name in range(len(self.parts))]

    @property
    def n_numbers(self) -> int:
        return sum(part.n_numbers for part in self.parts)

    @property
    def n_inputs(self) -> int:
        return sum(part.n_inputs for part in self.parts)

    @property
    def owner(self) -> np.ndarray:
        pairs = zip(self.parts, self._columns(), strict=True)
        return np.concatenate([j[part.owner] for part, j in pairs])

    def restricted(self, kept: np.ndarray) -> "Mixed":
        new, blocks = np.cumsum(kept) - 1, []
        for part, j in zip(self.parts, self._columns(), strict=True):
            if kept[j].any():
                blocks.append((part.restricted(kept[j]), tuple(new[j[kept[j]]].tolist())))
        return Mixed(blocks)

    # --- before training --------------------------------------------------------------------------

    def supports(self, X: np.ndarray) -> np.ndarray:
        out = np.empty(X.shape, dtype=bool)
        for part, j in zip(self.parts, self._columns(), strict=True):
            out[:, j] = part.supports(X[:, j])
        return out

    def scaling(self, columns: Columns, standardize) -> tuple[np.ndarray, np.ndarray]:
        mean, scale = np.zeros_like(columns.mean), np.ones_like(columns.mean)
        # Columns of several kinds do not share a unit.
        standardize = bool(standardize)
        for part, j in zip(self.parts, self._columns(), strict=True):
            mean[j], scale[j] = part.scaling(Columns(*(field[j] for field in columns)), standardize)
        return mean, scale

    def typical(self, x: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape[1])
        for part, j in zip(self.parts, self._columns(), strict=True):
            out[j] = part.typical(x[:, j])
        return out

    def start(self, model) -> tuple[Tensor, Tensor]:
        starts, first = [], 0
        for part in self.parts:
            own = slice(first, first + part.n_inputs)
            first += part.n_inputs
            starts.append(part.start(type(model)(*(_of(field, own) for field in model))))
        weights, biases = zip(*starts, strict=True)
        return torch.cat(weights), torch.cat(biases)

    # --- in training and after it -----------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        pairs = zip(self.parts, self.index, strict=True)
        return torch.cat([part.encode(x[..., j]) for part, j in pairs], -1)

    def forward(self, numbers: Tensor, z: Tensor | None = None) -> Product:
        each = numbers.split([part.n_numbers for part in self.parts], -1)
        parts = [part(own, z) for part, own in zip(self.parts, each, strict=True)]
        return Product(parts, self.order, self.index)

    def draw(self, p: Product, rng: np.random.RandomState) -> np.ndarray:
        pairs = zip(self.parts, p.parts, strict=True)
        drawn = np.concatenate([part.draw(own, rng) for part, own in pairs], axis=-1)
        return drawn[..., self.order.cpu().numpy()]

    def mean_over(self, p: Product, weights: Tensor) -> Tensor:
        pairs = zip(self.parts, p.parts, strict=True)
        return torch.cat([part.mean_over(own, weights) for part, own in pairs], -1)[..., self.order]

    @property
    def levels(self) -> np.ndarray:
        out = np.empty(self.n_features, dtype=int)
        for part, j in zip(self.parts, self._columns(), strict=True):
            out[j] = part.levels
        return out

    def one_hot(self, x: Tensor) -> Tensor:
        pairs = zip(self.parts, self.index, strict=True)
        return self._in_order([part.one_hot(x[..., j]) for part, j in pairs])

    def one_hot_mean(self, p: Product) -> Tensor:
        pairs = zip(self.parts, p.parts, strict=True)
        return self._in_order([part.one_hot_mean(own) for part, own in pairs])

    def one_hot_variance(self, p: Product) -> Tensor:
        pairs = zip(self.parts, p.parts, strict=True)
        return self._in_order([part.one_hot_variance(own) for part, own in pairs])

    def _in_order(self, blocks: list[Tensor]) -> Tensor:
        """What each block has in `one_hot`, in the order of the table's columns."""
        pairs = zip(self.parts, self._columns(), strict=True)
        owner = np.concatenate([np.repeat(j, part.levels) for part, j in pairs])
        return torch.cat(blocks, -1)[..., np.argsort(owner, kind="stable")]

    def calibrate(self, evidence) -> None:
        for part, j in zip(self.parts, self.index, strict=True):
            part.calibrate(evidence.of(j))

    def learned(self) -> dict:
        """What the blocks learned; arrays have 0 for the columns of other blocks."""
        out = {}
        for part, j in zip(self.parts, self._columns(), strict=True):
            for name, value in part.learned().items():
                if isinstance(value, np.ndarray):
                    whole = out.setdefault(name, np.zeros(self.n_features))
                    whole[j] = value
                else:
                    out.setdefault(name, value)
        return out

    def has_no_upper_bound(self) -> bool:
        return any(part.has_no_upper_bound() for part in self.parts)


def _of(field: np.ndarray | None, own: slice) -> np.ndarray | None:
    return None if field is None else field[own]
