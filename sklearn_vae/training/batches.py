"""Batches of rows, taken together and not one by one."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from skorch.dataset import Dataset as ScoredDataset
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..batch import Batch


def every_kth(rows: Any, n: int) -> slice:
    """The slice that takes about n of the rows at most, and no more than are read at once."""
    n = min(n, getattr(rows, "most_at_once", n))
    return slice(None, None, -(-len(rows) // n))


def thinned(rows: Any, n: int) -> Any:
    """Every k-th row, about n of them at most."""
    return rows[every_kth(rows, n)]


def bounds_of(n: int, batch_size: int) -> list[int]:
    """Where batches of n rows begin and end, as even as they can be of about a size."""
    size = -(-n // max(1, round(n / batch_size)))
    return [*range(0, max(n - 1, 1), size), n]


def passes_of(n: int, batch_size: int) -> int:
    """How many times an epoch of training goes through n rows."""
    return 2 if len(bounds_of(n, batch_size)) == 2 else 1


def steps_of(n: int, batch_size: int) -> int:
    """How many steps an epoch of training has."""
    return passes_of(n, batch_size) * (len(bounds_of(n, batch_size)) - 1)


def as_it_is(batch: tuple[Batch, Tensor]) -> tuple[Batch, Tensor]:
    """A batch: rows that are taken together need no collation."""
    return batch


class Rows(Dataset):
    """Rows as a data set of torch, whose targets are x.

    Parameters
    ----------
    rows : Batch
        Or anything that gives batches for slices and tensors of indices. If it is faster to read
        neighbours together, it has an attribute `block`, the number of them.
    """

    def __init__(self, rows: Batch):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Batch, Tensor]:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> tuple[Batch, Tensor]:
        rows = self.rows[torch.as_tensor(indices)]
        return rows, rows.x

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing and nothing is given."""
        return self.rows.is_complete

    def shuffled(self, generator: torch.Generator | None) -> Tensor:
        """Indices of all rows in random order.

        Of blocks in random order, a few of them shuffled together.
        """
        block = getattr(self.rows, "block", None)
        if block is None:
            # Drawn on the CPU: a seed means the same order on every device.
            return torch.randperm(len(self), generator=generator).to(self.rows.x.device)
        blocks = torch.arange(len(self)).split(block)
        order = torch.cat([blocks[i] for i in torch.randperm(len(blocks), generator=generator)])
        return torch.cat(
            [
                part[torch.randperm(len(part), generator=generator)]
                for part in order.split(16 * block)
            ]
        )


class ScoredRows(Rows, ScoredDataset):
    """Rows whose X and y skorch's scoring finds: both are x."""

    @property
    def X(self) -> Tensor:
        return self.rows[:].x

    y = X


class TensorBatches(DataLoader):
    """Batches taken from all rows at once, not row by row.

    Batches are of about one size, since a step of a few rows goes as far as one of many and knows
    less. No row is dropped. A single row joins the batch before it: no batch is too small for a
    layer that normalises over it. Where one batch has all rows and they are shuffled, it comes
    twice: what is done between epochs takes half as long as a step of so few rows.

    Parameters
    ----------
    batch_size : int
        About how many rows a batch has: up to half as many more, where fewer batches come nearer.

    Attributes
    ----------
    batch_size : int
        How many rows a batch has, all but the last.
    writes_over : bool
        Whether a shuffled batch may be written over the one before.
    """

    writes_over = False

    def __init__(
        self,
        dataset: Rows,
        batch_size: int,
        shuffle: bool = False,
        generator: torch.Generator | None = None,
    ):
        self.bounds = bounds_of(len(dataset), batch_size)
        self.passes = passes_of(len(dataset), batch_size) if shuffle else 1
        size = self.bounds[1]
        super().__init__(dataset, batch_size=size, shuffle=shuffle, generator=generator)
        self.shuffle = shuffle

    def __len__(self) -> int:
        return self.passes * (len(self.bounds) - 1)

    def __iter__(self) -> Iterator[tuple[Batch, Tensor]]:
        batch = None
        for _ in range(self.passes):
            order = self.dataset.shuffled(self.generator) if self.shuffle else None
            for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True):
                if order is None:
                    batch = self.dataset.rows[start:stop]
                else:
                    batch = self._at(order[start:stop], batch if self.writes_over else None)
                yield batch, batch.x

    def _at(self, indices: Tensor, over: Batch | None) -> Batch:
        rows = self.dataset.rows
        return rows.at(indices, over) if isinstance(rows, Batch) else rows[indices]
