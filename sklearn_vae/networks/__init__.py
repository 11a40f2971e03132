"""Networks: numbers to numbers.

A linear path beside any network, and the perceptron, are in `linear_path.py`; convolutional
networks are in `images.py`.
"""

from .images import (
    ConvDecoder,
    ConvEncoder,
    Convolutional,
    Doubling,
    ImageShape,
    is_narrow,
    transposed,
)
from .linear_path import ACTIVATIONS, MLP, LinearPath, Tanh, fast_tanh, last_layer, layers_of

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "Convolutional",
    "Doubling",
    "ImageShape",
    "LinearPath",
    "Tanh",
    "fast_tanh",
    "is_narrow",
    "last_layer",
    "layers_of",
    "transposed",
]
