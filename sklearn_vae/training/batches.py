"""Batches of rows, taken together and not one by one."""

import torch
from skorch.dataset import Dataset as ScoredDataset
from torch.utils.data import DataLoader, Dataset


def thinned(rows, n):
    """Every k-th row, about n of them at most."""
    return rows[:: -(-len(rows) // n)]


def as_it_is(batch):
    """A batch: rows that are taken together need no collation."""
    return batch


class Rows(Dataset):
    """Rows as a data set of torch, whose targets are x.

    Parameters
    ----------
    rows : Batch
        Or anything that gives batches for slices and tensors of indices. If reading neighbours
        together is what it likes, it says so by an attribute `block`, the number of them.
    """

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.__getitems__([index])

    def __getitems__(self, indices):
        rows = self.rows[torch.as_tensor(indices)]
        return rows, rows.x

    @property
    def is_plain(self):
        """Whether there is nothing but x."""
        return self.rows.is_plain

    def shuffled(self, generator):
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
    def X(self):
        return self.rows[:].x

    y = X


class TensorBatches(DataLoader):
    """Batches taken from all rows at once, not row by row.

    A remainder of a single row joins the batch before it: no row is dropped, and no batch is too
    small for a layer that normalises over it.
    """

    def __init__(self, dataset, batch_size, shuffle=False, generator=None):
        super().__init__(dataset, batch_size=batch_size, shuffle=shuffle, generator=generator)
        n = len(dataset)
        self.bounds = [*range(0, max(n - 1, 1), batch_size), n]
        self.shuffle = shuffle

    def __len__(self):
        return len(self.bounds) - 1

    def __iter__(self):
        rows = self.dataset.rows
        order = self.dataset.shuffled(self.generator) if self.shuffle else None
        for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            batch = rows[start:stop] if order is None else rows[order[start:stop]]
            yield batch, batch.x
