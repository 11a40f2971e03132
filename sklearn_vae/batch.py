"""What travels into the module: rows, and what is known of them beside their features."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of data, as they are passed to the module.

    Its length is the number of rows, and an index takes rows: ``batch[:10]`` is a batch of ten.

    Attributes
    ----------
    x : Tensor of shape (n, n_features)
        Where a value is missing, what stands in its place.

    observed : Tensor of shape (n, n_features) or None
        1 where x was observed and 0 where it is missing; None where nothing is missing.

    weight : Tensor of shape (n,) or None
        How much each row counts; None where all count 1.

    condition : Tensor of shape (n, n_conditions) or None
        What is given and not modelled.
    """

    x: Tensor
    observed: Tensor | None = None
    weight: Tensor | None = None
    condition: Tensor | None = None

    @classmethod
    def of(cls, rows: "Batch | Tensor") -> "Batch":
        """Rows as a batch: a tensor is one in which nothing is missing."""
        return rows if isinstance(rows, cls) else cls(rows)

    @classmethod
    def joined(cls, batches: Sequence["Batch"]) -> "Batch":
        """The rows of all batches, which have the same fields."""
        columns = zip(*(batch.fields for batch in batches), strict=True)
        return cls(*(None if parts[0] is None else torch.cat(parts) for parts in columns))

    @property
    def fields(self) -> tuple[Tensor | None, ...]:
        """x, observed, weight, condition."""
        return self.x, self.observed, self.weight, self.condition

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing but x."""
        return self.observed is None and self.weight is None and self.condition is None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing and nothing is given."""
        return self.observed is None and self.condition is None

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """A batch of what a function makes of each tensor."""
        return Batch(*(None if field is None else function(field) for field in self.fields))

    def split(self, size: int) -> Iterator["Batch"]:
        """Batches of up to `size` rows, in order."""
        return (self[start : start + size] for start in range(0, len(self), size))

    @property
    def total(self) -> float:
        """What all rows count together: how many they are, if each counts 1."""
        return self.x.shape[0] if self.weight is None else self.weight.sum().item()

    def mean(self, values: Tensor) -> Tensor:
        """The mean of values of each row (n, ...) over rows, by weight."""
        if self.weight is None:
            return values.mean(0)
        return torch.tensordot(self.weight.to(values), values, 1) / self.weight.sum()

    def weighed(self, values: Tensor) -> Tensor:
        """A value of each row (n,) times its weight, so that their plain mean is that by weight."""
        return values if self.weight is None else values * self.weight / self.weight.mean()

    def __len__(self) -> int:
        return self.x.shape[0]  # len of a tensor takes several times as long

    def __getitem__(self, index: slice | Tensor) -> "Batch":
        if self.is_plain:
            return Batch(self.x[index])
        return self.map(lambda field: field[index])

    def at(self, indices: Tensor, over: "Batch | None" = None) -> "Batch":
        """Rows at indices (n,) from 0 on, in a third of the time of ``self[indices]``.

        They may be written over a batch of as many rows of which nobody asks any more.
        """
        if self.is_plain:
            out = None if over is None or len(over) != len(indices) else over.x
            return Batch(torch.index_select(self.x, 0, indices, out=out))
        return self.map(lambda field: field.index_select(0, indices))
