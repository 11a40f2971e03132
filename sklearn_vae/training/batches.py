"""Batches: rows of one tensor, taken together and not one by one."""

import torch
from skorch.dataset import Dataset as ScoredDataset
from torch.utils.data import DataLoader, Dataset


def thinned(x, n):
    """Every k-th row of x, about n of them at most."""
    return x[:: -(-len(x) // n)]


class Rows(Dataset):
    """The rows of one tensor, each its own target.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Or anything that gives tensors for slices and tensors of indices. If reading neighbours
        together is what it likes, it says so by an attribute `block`, the number of them.
    """

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        row = self.x[index]
        return row, row

    def __getitems__(self, indices):
        return list(zip(*self[torch.as_tensor(indices)], strict=True))

    def shuffled(self, generator):
        """Indices of all rows in random order.

        Of blocks in random order, a few of them shuffled together.
        """
        block = getattr(self.x, "block", None)
        if block is None:
            # Drawn on the CPU: a seed means the same order on every device.
            return torch.randperm(len(self), generator=generator).to(self.x.device)
        blocks = torch.arange(len(self)).split(block)
        order = torch.cat([blocks[i] for i in torch.randperm(len(blocks), generator=generator)])
        return torch.cat(
            [
                part[torch.randperm(len(part), generator=generator)]
                for part in order.split(16 * block)
            ]
        )


class ScoredRows(Rows, ScoredDataset):
    """Rows whose X and y skorch's scoring finds: both are the rows."""

    @property
    def X(self):
        return self.x[:]

    y = X


class TensorBatches(DataLoader):
    """Batches taken from one tensor at once, not row by row.

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
        x = self.dataset.x
        order = self.dataset.shuffled(self.generator) if self.shuffle else None
        for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            batch = x[start:stop] if order is None else x[order[start:stop]]
            yield batch, batch
