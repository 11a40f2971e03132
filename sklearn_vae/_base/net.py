"""From the estimator's parameters to a skorch net, and to the places where it may start.

``spec`` is a dict of the estimator's parameters. Here, and nowhere else, a name becomes a class.
"""

from functools import partial

import numpy as np
import torch

from .. import selection
from ..likelihoods import LIKELIHOODS, Count, HeteroscedasticGaussian
from ..module import VAE
from ..networks import MLP, LinearPath
from ..objectives import OBJECTIVES
from ..posteriors import POSTERIORS
from ..selection import JUDGED
from ..training import VALID_BATCH, SeededInit, TensorBatches, VAENet, thinned

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
IN_DOUBLE = 2**22  # numbers at most, for which that is done in float64


def build_net(spec, scale, device, seed):
    """An initialised skorch net for data scaled by `scale`, its weights drawn from `seed`.

    Parameters
    ----------
    spec : dict
        The estimator's parameters.
    scale : ndarray of shape (n_features,)
        What the features were divided by; 0 for those that are left out.
    device : torch.device
    seed : int
    """
    scale = scale[scale > 0]
    sizes = tuple(map(int, spec["hidden_layer_sizes"]))
    defaults = {
        "module": VAE,
        "module__n_features": len(scale),
        "module__n_components": int(spec["n_components"]),
        "module__posterior": POSTERIORS[spec["covariance_type"]],
        "module__likelihood": _likelihood(spec, scale),
        "module__encoder": _network(spec["encoder"], sizes, spec["activation"]),
        "module__decoder": _network(spec["decoder"], sizes[::-1], spec["activation"]),
        "criterion": OBJECTIVES[spec["objective"]],
        "criterion__beta": spec["beta"],
        "criterion__free_bits": spec["free_bits"],
        "n_draws": int(spec["n_draws"]),
        "log_scale": float(np.log(scale).sum()),
        "optimizer": torch.optim.AdamW,
        "lr": spec["learning_rate_init"],
        "batch_size": BATCH_SIZE if spec["batch_size"] == "auto" else int(spec["batch_size"]),
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
        defaults |= {
            "criterion__info_alpha": spec["info_alpha"],
            "criterion__info_lambda": spec["info_lambda"],
        }
    given = spec["net_params"] or {}
    if "optimizer" not in given:
        defaults |= {
            "optimizer__fused": device.type in ("cpu", "cuda"),
            "optimizer__capturable": device.type == "cuda",
            "optimizer__weight_decay": spec["alpha"],
        }
    with SeededInit(torch.Generator().manual_seed(seed)):
        return (spec["net_class"] or VAENet)(**(defaults | given)).initialize()


def _network(make, sizes, activation):
    """A factory of the network with a linear path beside it: the one given, or the perceptron."""
    if make is None:
        return partial(MLP, hidden_layer_sizes=sizes, activation=activation)
    return partial(LinearPath, make=make)


def _likelihood(spec, scale):
    likelihood = LIKELIHOODS[spec["likelihood"]]
    if not likelihood.rescales:
        return likelihood
    if spec["noise_variance"] == "heteroscedastic":
        return HeteroscedasticGaussian
    return partial(likelihood, noise_variance=_noise(spec, scale), noise_growth=_growth(spec))


def _noise(spec, scale):
    """How the noise is parametrised.

    A fixed variance is given in X's units and goes into the net's.
    """
    noise = spec["noise_variance"]
    return (
        noise
        if isinstance(noise, str)
        else noise / scale[scale > 0] ** 2 / weightless_noise(spec, scale)
    )


def weightless_noise(spec, scale):
    """The factor by which training may divide a fixed noise variance.

    It is 1 unless it has no effect on the best weights. In a plain autoencoder (beta = 0) it weighs
    the whole loss. An optimizer and a tolerance know no units, so training takes a noise whose
    geometric mean is 1 in the net's units.
    """
    if spec["beta"] or isinstance(spec["noise_variance"], str) or _growth(spec) not in (0, "auto"):
        return 1.0
    return np.exp(np.log(spec["noise_variance"] / scale[scale > 0] ** 2).mean())


def _growth(spec):
    """How the noise grows with the distance.

    In a linear model, which is probabilistic PCA or factor analysis, it does not.
    """
    return 0.0 if spec["noise_growth"] == "auto" and _is_linear(spec) else spec["noise_growth"]


def _is_linear(spec):
    return spec["encoder"] is spec["decoder"] is None and not len(spec["hidden_layer_sizes"])


def starting_points(spec, scale, seed):
    """Functions that take a fresh net to where its training may start.

    They are called as ``f(net, x, x_valid, train, origin)``.

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
        The start that every fit takes, and then those that need rows held out to compete. The first
        takes `Moments` in the place of rows x as well.
    """
    d = spec["n_components"]

    def sample(x):
        if isinstance(x, selection.Moments):
            return x.rows_alike()
        rows = thinned(x, SAMPLED).cpu().numpy()
        # In float32 the smallest eigenvalues would be rounding; a large table has none so small.
        return rows.astype(np.float64) if rows.size <= IN_DOUBLE else rows

    def as_drawn(net, *_):
        pass

    def linear(net, x, *_):
        noise = _noise(spec, scale)
        if spec["beta"] == 0 and not isinstance(noise, str):
            selection.start_at(net.module_, selection.projection(sample(x), d, noise, seed))
            net.module_.likelihood.start_noise(torch.as_tensor(noise, dtype=torch.float32))
        else:
            selection.start_at(net.module_, selection.linear_model(sample(x), d, noise, seed))

    def of_counts(net, x, *_):
        moments = x if isinstance(x, selection.Moments) else selection.Moments.of(sample(x))
        selection.start_at(net.module_, selection.count_model(moments, d))

    def sharp(net, x, x_valid, train, origin):
        selection.start_at(net.module_, selection.sharp_model(sample(x), d, seed))
        net.module_.likelihood.requires_grad_(False)
        train(net)
        net.module_.likelihood.requires_grad_(True)
        # A refit is trained on the rows held out; the module where the first training started was
        # not.
        unseen_by = origin or net.module_
        selection.release_noise(net.module_, unseen_by, thinned(x_valid, JUDGED))
        net.fresh_optimizer()

    def at_the_mean(net, x, *_):
        with torch.no_grad():
            mean = torch.from_numpy(sample(x).mean(axis=0)).to(net.device)
            net.module_.decoder.linear.bias.copy_(net.module_.likelihood.of_mean(mean))

    if spec["init"] == "random":
        return [as_drawn]
    likelihood = LIKELIHOODS[spec["likelihood"]]
    if issubclass(likelihood, Count) and len(scale) <= selection.MOST_FEATURES:
        return [of_counts]
    if not likelihood.rescales:
        return [at_the_mean]
    can_bend = not _is_linear(spec) and spec["noise_variance"] in ("shared", "per_feature")
    # With as many components as features the linear model leaves nothing to be explained.
    return [linear, sharp] if can_bend and d < np.count_nonzero(scale) else [linear]
