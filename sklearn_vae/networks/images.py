"""Convolutional networks, for rows that are flattened images.

    encoder:  image, (convolution, activation) ..., flatten, (linear, activation) ..., linear
    decoder:  (linear, activation) ..., unflatten, (transposed convolution, activation) ..., image

with windows of 4 x 4 pixels that move by 2. Each convolution halves the height and the width, and
each transposed convolution doubles them (LeCun et al. 1998; Radford et al. 2016).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, pixel_shuffle

from .linear_path import ACTIVATIONS, dense

NARROW = 16  # channels, from which on torch's own transposed convolution takes less time


@dataclass(frozen=True)
class ImageShape:
    """How the columns of a row make up an image.

    Attributes
    ----------
    channels, height, width : int
        Columns go through the width first and the channels last.

    kept : ndarray of shape (n_kept,)
        Which of the channels * height * width columns the networks see, by number.
    """

    channels: int
    height: int
    width: int
    kept: np.ndarray

    @classmethod
    def of(cls, shape: Sequence[int], n_filters: Sequence[int], kept: np.ndarray) -> "ImageShape":
        """From (height, width) or (channels, height, width), for columns where `kept` is True.

        Raises
        ------
        ValueError
            If columns do not make up such images, or images are too small for the convolutions.
        """
        channels, height, width = (1,) * (3 - len(shape)) + tuple(map(int, shape))
        image = cls(channels, height, width, np.flatnonzero(kept))
        if image.size != len(kept):
            raise ValueError(
                f"image_shape={tuple(shape)} is that of images of {image.size} numbers, but X has "
                f"{len(kept)} columns. Give the (height, width) or (channels, height, width) of "
                "the images whose flattened pixels are the rows of X."
            )
        least = 2 ** len(n_filters)
        if min(image.height, image.width) < least:
            raise ValueError(
                f"n_filters={tuple(n_filters)} halves images of {image.height} x {image.width} "
                f"pixels {len(n_filters)} times, which takes at least {least} x {least}. Give "
                "fewer numbers of filters."
            )
        return image

    @property
    def size(self) -> int:
        """Numbers of an image."""
        return self.channels * self.height * self.width

    def sides(self, n_halvings: int) -> list[tuple[int, int]]:
        """Height and width before and after each halving, the remainder left out."""
        return [(self.height >> k, self.width >> k) for k in range(n_halvings + 1)]


class Convolutional(nn.Module):
    """What the networks for images share.

    Parameters
    ----------
    image : ImageShape
    n_numbers : int
        Numbers of a row, one or more for each pixel that is kept: blocks of all of them.
    """

    def __init__(self, image: ImageShape, n_numbers: int):
        super().__init__()
        self.image = image
        self.register_buffer("kept", torch.from_numpy(image.kept), persistent=False)
        self.n_blocks = n_numbers // len(image.kept)

    def to_image(self, x: Tensor) -> Tensor:
        """Images (n, channels, height, width) of rows x; pixels that are left out are 0."""
        image = self.image
        x = x.unflatten(1, (self.n_blocks, -1))
        if len(image.kept) < image.size:
            pixels = x.new_zeros(len(x), self.n_blocks, image.size)
            x = pixels.index_copy_(2, self.kept, x)
        return x.reshape(len(x), -1, image.height, image.width)

    def to_rows(self, pixels: Tensor) -> Tensor:
        """The pixels that are kept, as rows."""
        image = self.image
        if len(image.kept) == image.size:
            return pixels.flatten(1)
        pixels = pixels.reshape(len(pixels), self.n_blocks, image.size)
        return pixels.index_select(2, self.kept).flatten(1)


def transposed(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A transposed convolution by windows of 4 x 4 that move by 2, as a plain one by 3 x 3.

    The 2 x 2 pixels in the place of a pixel see it and those beside it, so they are four channels
    of a convolution (Shi et al. 2016).

    Parameters
    ----------
    x : Tensor of shape (n, n_in, height, width)
    weight : Tensor of shape (n_in, n_out, 4, 4)
    bias : Tensor of shape (n_out,), optional

    Returns
    -------
    Tensor of shape (n, n_out, 2 * height, 2 * width)
    """
    n_in, n_out = weight.shape[:2]
    windows = pad(weight, (1, 1, 1, 1)).reshape(n_in, n_out, 3, 2, 3, 2).flip(2, 4)
    windows = windows.permute(1, 3, 5, 0, 2, 4).reshape(4 * n_out, n_in, 3, 3)
    bias = None if bias is None else bias.repeat_interleave(4)
    return pixel_shuffle(conv2d(x, windows, bias, padding=1), 2)


def is_narrow(x: Tensor, n_out: int) -> bool:
    """Whether `transposed` takes less time than torch's own: on a CPU, for few channels."""
    return n_out < NARROW and (x.device.type, x.dtype) == ("cpu", torch.float32)


class Doubling(nn.ConvTranspose2d):
    """A transposed convolution that doubles the sides, or doubles them and adds 1 if `odd`."""

    def __init__(self, n_in: int, n_out: int, odd: tuple[int, int]):
        super().__init__(n_in, n_out, 4, 2, 1, output_padding=odd)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, height, width) to (n, n_out, 2 height, 2 width)."""
        if any(self.output_padding) or not is_narrow(x, self.out_channels):
            return super().forward(x)
        return transposed(x, self.weight, self.bias)


class ConvEncoder(Convolutional):
    """From the pixels of images to numbers.

    Parameters
    ----------
    n_in : int
        Number of inputs, one or more for each pixel that is kept: blocks of all of them.
    n_out : int
        Number of outputs.
    image : ImageShape

    n_filters : sequence of int
        Filters of each convolution.
    hidden_layer_sizes : sequence of int
        Width of each linear layer between the last convolution and the outputs.
    activation : str
        A name in `ACTIVATIONS`.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        image: ImageShape,
        n_filters: Sequence[int],
        hidden_layer_sizes: Sequence[int] = (),
        activation: str = "silu",
    ):
        super().__init__(image, n_in)
        act = ACTIVATIONS[activation]
        channels = [self.n_blocks * image.channels, *n_filters]
        convolutions = [
            layer for a, b in pairwise(channels) for layer in (nn.Conv2d(a, b, 4, 2, 1), act())
        ]
        height, width = image.sides(len(n_filters))[-1]
        sizes = [channels[-1] * height * width, *hidden_layer_sizes]
        linear = nn.Flatten(), *dense(sizes, act)
        self.layers = nn.Sequential(*convolutions, *linear, nn.Linear(sizes[-1], n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in) to (n, n_out)."""
        return self.layers(self.to_image(x))


class ConvDecoder(Convolutional):
    """From numbers to the pixels of images: `ConvEncoder` in reverse.

    Parameters
    ----------
    n_in : int
        Number of inputs.
    n_out : int
        Number of outputs, one or more for each pixel that is kept: blocks of all of them.
    image, activation
        As for `ConvEncoder`.

    n_filters : sequence of int
        Filters that each transposed convolution takes, from the input on.
    hidden_layer_sizes : sequence of int
        Width of each linear layer, from the input on.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        image: ImageShape,
        n_filters: Sequence[int],
        hidden_layer_sizes: Sequence[int] = (),
        activation: str = "silu",
    ):
        super().__init__(image, n_out)
        act = ACTIVATIONS[activation]
        smallest, *sides = image.sides(len(n_filters))[::-1]
        first = n_filters[0], *smallest
        sizes = [n_in, *hidden_layer_sizes, int(np.prod(first))]
        linear = dense(sizes, act)
        channels, layers = [*n_filters, self.n_blocks * image.channels], []
        for (a, b), (height, width) in zip(pairwise(channels), sides, strict=True):
            odd = height % 2, width % 2
            layers += [Doubling(a, b, odd), act()]
        self.layers = nn.Sequential(*linear, nn.Unflatten(1, first), *layers[:-1])

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, n_in) to (n, n_out)."""
        return self.to_rows(self.layers(z))
