"""From an estimator's parameters to a skorch net.

Here, and nowhere else, a name becomes a class.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
from sklearn.base import clone

from ..likelihoods import LIKELIHOODS, Likelihood
from ..module import VAE
from ..networks import MLP, ConvDecoder, ConvEncoder, ImageShape, LinearPath
from ..objectives import OBJECTIVES, Objective
from ..parts import Part
from ..posteriors import POSTERIORS, Posterior
from ..selection import FEW_ROWS, GAUSSIAN
from ..training import SOAP, VALID_BATCH, WIDEST, AdamW, SeededInit, TensorBatches, VAENet
from .table import likelihood_of

BATCH_SIZE = 128
LARGE_BATCH, PATIENT = 1024, 400  # with many rows, and the steps without improvement at most
VALID_NUMBERS = 2**22  # at once in validation


@dataclass(frozen=True)
class Spec:
    """What a net is built from: those of an estimator's parameters, of the same names.

    And `n_rows`, how many there are to train on and to hold out; 0 for a stream.
    """

    n_components: int
    hidden_layer_sizes: tuple
    activation: str
    encoder: Callable | None
    decoder: Callable | None
    image_shape: tuple | None
    n_filters: tuple
    likelihood: Likelihood
    covariance_type: type[Posterior]
    objective: Objective
    init: str
    standardize: bool | str
    learning_rate_init: float
    batch_size: int | str
    alpha: float
    tol: float
    n_iter_no_change: int
    device: str
    net_class: type[VAENet] | None
    net_params: dict | None
    verbose: int
    n_rows: int = 0

    @classmethod
    def of(cls, params, schema=None):
        """From an estimator's parameters (dict), names made into parts.

        With the schema of a table whose columns are of several kinds, if it is one.
        """
        own = {field.name: params[field.name] for field in fields(cls) if field.name in params}
        posterior, likelihood = own["covariance_type"], own["likelihood"]
        if schema is not None and own["image_shape"] is not None:
            raise ValueError(
                f"image_shape={own['image_shape']!r} says that the columns of X are pixels, but "
                "they are of several kinds. Leave image_shape=None for such tables."
            )
        if schema is not None and likelihood == "gaussian":
            # Columns of several kinds have no noise in common.
            likelihood = LIKELIHOODS["gaussian"]("per_feature")
        likelihood = made(likelihood, LIKELIHOODS)
        if schema is not None:
            likelihood = likelihood_of(schema, likelihood)
        return cls(
            **own
            | {
                "n_components": int(own["n_components"]),
                "hidden_layer_sizes": tuple(map(int, own["hidden_layer_sizes"])),
                "n_filters": tuple(map(int, own["n_filters"])),
                "likelihood": likelihood,
                "objective": made(own["objective"], OBJECTIVES),
                "covariance_type": POSTERIORS.get(posterior, posterior),
            }
        )

    @property
    def are_perceptrons(self):
        """Whether both networks are those of the package for rows that are no images."""
        return (self.encoder, self.decoder, self.image_shape) == (None, None, None)

    @property
    def is_solved(self):
        """Whether training starts at the maximum-likelihood model.

        So it is where both networks are linear. With missing values the bound would lead away from
        it: the covariance of z is then not one that a linear encoder can tell.
        """
        is_linear = self.are_perceptrons and (self.hidden_layer_sizes, self.init) == ((), "auto")
        return is_linear and self.likelihood.linear_model in GAUSSIAN

    @property
    def takes_large_batches(self):
        """Whether there are many rows, and `SOAP` makes up for the smaller number of steps.

        It does so in layers that are not too wide. Nobody may have asked for anything else.
        """
        given = {name.partition("__")[0] for name in self.net_params or {}}
        is_given = self.batch_size != "auto" or given & {"optimizer", "batch_size", "lr"}
        is_narrow = self.are_perceptrons and max(self.hidden_layer_sizes, default=1) <= WIDEST
        return self.n_rows > FEW_ROWS and is_narrow and not is_given

    def networks(self, kept):
        """Factories of the encoder and the decoder, with a linear path beside each.

        They are the networks that are given; else convolutional ones for images, of which the
        columns where `kept` is True are seen; else perceptrons.
        """
        usual = "tanh" if self.image_shape is None else "silu"
        activation = usual if self.activation == "auto" else self.activation
        how = [
            {"hidden_layer_sizes": sizes, "activation": activation}
            for sizes in (self.hidden_layer_sizes, self.hidden_layer_sizes[::-1])
        ]
        if self.image_shape is None:
            own = [partial(MLP, **each) for each in how]
        else:
            image = ImageShape.of(self.image_shape, self.n_filters, kept)
            nets = ConvEncoder, ConvDecoder
            filters = self.n_filters, self.n_filters[::-1]
            own = [
                partial(LinearPath, make=partial(net, image=image, n_filters=n_filters, **each))
                for net, n_filters, each in zip(nets, filters, how, strict=True)
            ]
        return [
            net if make is None else partial(LinearPath, make=make)
            for net, make in zip(own, (self.encoder, self.decoder), strict=True)
        ]


def made(part, family):
    """A part of its own: of a name in `family` (dict), or a clone of what is given."""
    return family[part]() if isinstance(part, str) else clone(part, safe=False)


def kept(params):
    """An estimator's parameters with parts of their own, which nobody changes later."""
    return {
        name: clone(value, safe=False) if isinstance(value, (Part, list)) else value
        for name, value in params.items()
    }


def build_net(spec, scale, device, seed, filling=None):
    """An initialised skorch net for data scaled by `scale`, its weights drawn from `seed`.

    Parameters
    ----------
    spec : Spec
    scale : ndarray of shape (n_features,)
        What the features were divided by; 0 for those that are left out.

    device : torch.device
    seed : int
    filling : Filling, optional
        What missing values are filled with; the net is then told where they are.
    """
    likelihood, (encoder, decoder) = spec.likelihood.restricted(scale > 0), spec.networks(scale > 0)
    scale, given = scale[scale > 0], spec.net_params or {}
    log_scale = np.log(scale) * (1 if filling is None else filling.share)
    is_large = device.type == "cpu" and spec.takes_large_batches
    batch_size, lr = LARGE_BATCH if is_large else BATCH_SIZE, spec.learning_rate_init
    lr *= (batch_size / BATCH_SIZE) ** 0.5
    defaults = {
        "module": VAE,
        "module__n_features": len(scale),
        "module__n_components": spec.n_components,
        "module__posterior": spec.covariance_type,
        "module__likelihood": partial(_built, likelihood, scale),
        "module__encoder": encoder,
        "module__decoder": decoder,
        "module__sees_missing": filling is not None,
        "log_scale": float(log_scale.sum()),
        "lr": lr,
        "batch_size": batch_size if spec.batch_size == "auto" else int(spec.batch_size),
        "iterator_train": TensorBatches,
        "iterator_train__shuffle": True,
        "iterator_valid": TensorBatches,
        "iterator_valid__batch_size": max(1, min(VALID_BATCH, VALID_NUMBERS // len(scale))),
        "callbacks__keep_best__patience": spec.n_iter_no_change,
        "callbacks__keep_best__tol": spec.tol,
        "train_split": None,
        "device": str(device),
        "verbose": int(spec.verbose),
    }
    if "criterion" not in given:
        parameters = spec.objective.get_params().items()
        defaults |= {"criterion": type(spec.objective)}
        defaults |= {f"criterion__{name}": value for name, value in parameters}
    if is_large:
        defaults |= {"optimizer": SOAP, "optimizer__weight_decay": spec.alpha}
        defaults |= {"callbacks__keep_best__most_steps": PATIENT}
    elif "optimizer" not in given:
        defaults |= {
            "optimizer": AdamW,
            "optimizer__fused": device.type in ("cpu", "cuda"),
            "optimizer__capturable": device.type == "cuda",
            "optimizer__weight_decay": spec.alpha,
        }
    with SeededInit(torch.Generator().manual_seed(seed)):
        return (spec.net_class or VAENet)(**(defaults | given)).initialize()


def _built(likelihood, scale):
    """A likelihood of its own for one module."""
    return clone(likelihood).build(scale)
