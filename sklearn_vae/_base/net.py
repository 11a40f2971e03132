"""From the estimator's parameters to a skorch net, and to the places where it may start.

``spec`` is a dict of the estimator's parameters. Here, and nowhere else, a name becomes a class.
"""

import copy
from functools import partial

import numpy as np
import torch

from .. import _linear_start
from ..likelihoods import LIKELIHOODS, HeteroscedasticGaussian
from ..module import VAE
from ..networks import MLP
from ..objectives import OBJECTIVES
from ..posteriors import POSTERIORS
from ..training import VALID_BATCH, SeededInit, TensorBatches, VAENet
from .data import thinned

ARCHITECTURE = (
    "n_components",
    "hidden_layer_sizes",
    "activation",
    "encoder",
    "decoder",
    "likelihood",
    "noise_variance",
    "noise_growth",
    "covariance_type",
)
BATCH_SIZE = 128
SAMPLED = 100_000  # rows at most, from which a linear model is found
JUDGED = 10_000  # held-out rows at most, by which starts and noise are judged


def build_net(spec, n_features, scale, device, seed):
    """An initialised skorch net for data scaled by `scale`, its weights drawn from `seed`."""
    sizes = tuple(spec["hidden_layer_sizes"])
    perceptron = partial(MLP, activation=spec["activation"])
    defaults = {
        "module": VAE,
        "module__n_features": n_features,
        "module__n_components": spec["n_components"],
        "module__posterior": POSTERIORS[spec["covariance_type"]],
        "module__likelihood": _likelihood(spec, scale),
        "module__encoder": spec["encoder"] or partial(perceptron, hidden_layer_sizes=sizes),
        "module__decoder": spec["decoder"] or partial(perceptron, hidden_layer_sizes=sizes[::-1]),
        "criterion": OBJECTIVES[spec["objective"]],
        "criterion__beta": spec["beta"],
        "criterion__free_bits": spec["free_bits"],
        "n_draws": spec["n_draws"],
        "log_scale": float(np.log(scale).sum()),
        "optimizer": torch.optim.AdamW,
        "lr": spec["learning_rate_init"],
        "batch_size": BATCH_SIZE if spec["batch_size"] == "auto" else spec["batch_size"],
        "iterator_train": TensorBatches,
        "iterator_train__shuffle": True,
        "iterator_valid": TensorBatches,
        "iterator_valid__batch_size": VALID_BATCH,
        "callbacks__keep_best__patience": spec["n_iter_no_change"],
        "callbacks__keep_best__tol": spec["tol"],
        "callbacks__keep_best__start": spec["kl_warmup"],
        "callbacks__kl_warmup__epochs": spec["kl_warmup"],
        "train_split": None,
        "device": str(device),
        "verbose": int(spec["verbose"]),
    }
    if spec["objective"] == "infovae":
        defaults |= {"criterion__info_alpha": spec["info_alpha"], "criterion__info_lambda": spec["info_lambda"]}
    given = copy.deepcopy(spec["net_params"]) or {}
    if "optimizer" not in given:
        defaults |= {
            "optimizer__fused": device.type in ("cpu", "cuda"),
            "optimizer__capturable": device.type == "cuda",
            "optimizer__weight_decay": spec["alpha"],
        }
    with SeededInit(torch.Generator().manual_seed(seed)):
        return (spec["net_class"] or VAENet)(**(defaults | given)).initialize()


def _likelihood(spec, scale):
    likelihood = LIKELIHOODS[spec["likelihood"]]
    if not likelihood.rescales:
        return likelihood
    if spec["noise_variance"] == "heteroscedastic":
        return HeteroscedasticGaussian
    return partial(likelihood, noise_variance=_noise(spec, scale), noise_growth=_growth(spec))


def _noise(spec, scale):
    """How the noise is parametrised; a fixed variance is given in X's units and goes into the net's."""
    noise = spec["noise_variance"]
    return noise if isinstance(noise, str) else noise / scale**2


def _growth(spec):
    """How the noise grows with the distance; in a linear model, which is probabilistic PCA or factor analysis, not."""
    is_linear = spec["encoder"] is spec["decoder"] is None and not len(spec["hidden_layer_sizes"])
    return 0.0 if spec["noise_growth"] == "auto" and is_linear else spec["noise_growth"]


def starting_points(spec, scale, seed):
    """Functions ``f(net, x, x_valid, train, origin)`` that take a fresh net to where its training may start.

    Parameters
    ----------
    spec : dict
        The estimator's parameters.
    scale : ndarray of shape (n_features,)
        What the features were divided by.
    seed : int
        For randomised solvers.

    Returns
    -------
    list of callable
        The start that every fit takes, and then those that need rows held out to compete.
    """

    def sample(x):
        return thinned(x, SAMPLED).cpu().numpy()

    def as_drawn(net, *_):
        pass

    def linear(net, x, *_):
        model = _linear_start.linear_model(sample(x), spec["n_components"], _noise(spec, scale), seed)
        _linear_start.start_at(net.module_, model)

    def sharp(net, x, x_valid, train, origin):
        model = _linear_start.sharp_model(sample(x), spec["n_components"], seed)
        _linear_start.start_at(net.module_, model)
        net.module_.likelihood.requires_grad_(False)
        train(net)
        net.module_.likelihood.requires_grad_(True)
        # A refit is trained on the rows held out; the module where the first training started was not.
        unseen_by = origin or net.module_
        _linear_start.release_noise(net.module_, unseen_by, thinned(x_valid, JUDGED))
        net.start_over()

    def at_the_mean(net, x, *_):
        with torch.no_grad():
            net.module_.decoder.linear.bias.copy_(net.module_.likelihood.of_mean(thinned(x, SAMPLED).mean(0)))

    has_linear_path = spec["encoder"] is None and spec["decoder"] is None
    if spec["init"] == "random" or not has_linear_path:
        return [as_drawn]
    if not LIKELIHOODS[spec["likelihood"]].rescales:
        return [at_the_mean]
    can_bend = len(spec["hidden_layer_sizes"]) and spec["noise_variance"] in ("shared", "per_feature")
    return [linear, sharp] if can_bend else [linear]
