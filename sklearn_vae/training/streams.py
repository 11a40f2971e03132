"""The random streams of a training, and what they start from."""

from typing import NamedTuple

import torch


class Seeds(NamedTuple):
    """What the random streams of a training start from."""

    shuffle: int
    noise: int
    validation: int


class Streams(NamedTuple):
    """The random streams of a training.

    Attributes
    ----------
    shuffle, noise, validation : torch.Generator
    seed : int
        Where the stream of validation starts each time.
    """

    shuffle: torch.Generator
    noise: torch.Generator
    validation: torch.Generator
    seed: int

    @classmethod
    def of(cls, seeds: Seeds, device: torch.device) -> "Streams":
        """The streams that start from seeds, deviates on a device."""
        noise = torch.Generator(device).manual_seed(seeds.noise)
        shuffle = torch.Generator().manual_seed(seeds.shuffle)
        return cls(shuffle, noise, torch.Generator(device), seeds.validation)
