"""Time per training step beside a hand-written loop and stock skorch, side by side in one run.

All train the same network on the same batches with AdamW: encoder and decoder with one or two
hidden layers, as the estimators build them, with tanh and a linear path beside each, and plain,
with ReLU and without that path; a posterior with a variance per component, shared Gaussian noise.
The hand-written loop is what a good engineer would write: the data on the device, one permutation
an epoch, a fused optimizer, the loss read once an epoch, the bound spelled out. It starts from the
same weights and draws the same numbers, so its losses have to be the same. Stock skorch is
`skorch.NeuralNet` fitted to NumPy arrays, with its own data loading and history around the same
module and objective, with the same fused optimizer. pythae and encdr take part if they are
installed, each with its own loading and trainer around the same networks and the same fused
optimizer (``pip install pythae encdr``; on Python 3.11 encdr 1.2 runs if
``--ignore-requires-python`` is given).

Runs of all are interleaved, and the figures are medians over them of time per step; ratios are what
counts, since machines are noisy.

Run as ``python examples/benchmarks/speed.py --out examples/benchmarks/speed.txt``, on a machine
that does nothing else.
"""

import argparse
import contextlib
import copy
import io
import logging
import math
import os
import tempfile
import time
import warnings
from functools import partial
from importlib.util import find_spec
from itertools import product
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import skorch
import torch
from plain import PlainPath, plain_network
from report import heading, publish
from torch.nn.functional import celu

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae._base.net import Spec, build_net
from sklearn_vae.batch import Batch
from sklearn_vae.objectives import reconstruction
from sklearn_vae.training import Seeds

NETWORKS = {
    "64-128-8": (64, (128,), 8, 128),
    "784-400-10": (784, (400,), 10, 128),
    "100-256-256-32": (100, (256, 256), 32, 1024),
}
SEEDS = Seeds(1, 2, 3)
LEARNING_RATE = 2e-4  # so small that no step is limited (`sklearn_vae.training.limits`)
EPOCHS = 25  # of 20 steps
WARM_UP = 30  # steps over which the learning rate grows


def lean_net(n_features, hidden, d, batch, estimator=VAETransformer, **params):
    """What an estimator trains, freshly initialised."""
    params = {
        "hidden_layer_sizes": hidden,
        "batch_size": batch,
        "learning_rate_init": LEARNING_RATE,
        **params,
    }
    spec = Spec.of(estimator(d, **params).get_params(deep=False))
    with patch("sklearn_vae._base.net.LinearPath", PlainPath):  # the others have none
        return build_net(spec, np.ones(n_features), torch.device("cpu"), seed=0)


def time_lean(net, x, epochs):
    """Train by the package's own path."""
    start = time.perf_counter()
    with net.keeping_the_last():
        net.train_on(Batch(x), None, epochs, SEEDS)
    return time.perf_counter() - start, [epoch["train_loss"] for epoch in net.history]


def time_by_hand(net, x, epochs):
    """Train by a hand-written loop."""
    module = copy.deepcopy(net.module_)
    encoder, decoder = module.encoder, module.decoder
    log_noise = module.likelihood.noise.log_variance
    d, batch, D = net.module__n_components, net.batch_size, x.shape[1]
    start = time.perf_counter()
    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, fused=True, weight_decay=0)
    shuffle, noise = (
        torch.Generator().manual_seed(SEEDS[0]),
        torch.Generator().manual_seed(SEEDS[1]),
    )
    losses, taken = [], 0
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=shuffle)
        total = torch.zeros(())
        for rows in order.split(batch):
            xb = x[rows]
            mu, log_variance = encoder(xb).split(d, 1)
            log_variance = -celu(-log_variance.clamp(min=-30), 5)
            z = mu + torch.exp(0.5 * log_variance) * torch.randn(mu.shape, generator=noise)
            log_sigma2 = 30 * torch.tanh(log_noise / 30)
            squared = (xb - decoder(z)).square().sum()
            kl = 0.5 * (mu.square() + torch.exp(log_variance) - 1 - log_variance).sum()
            n = len(xb)
            loss = (0.5 * squared * torch.exp(-log_sigma2) + kl) / n + 0.5 * D * (
                log_sigma2 + math.log(2 * math.pi)
            )
            taken += 1
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1, taken / WARM_UP)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * n
        losses.append(total.item() / len(x))
    return time.perf_counter() - start, losses


class Objective(torch.nn.Module):
    """The package's objective as skorch's criterion takes it."""

    def forward(self, output, x):
        """Loss of a batch."""
        return -(reconstruction(output, x) - output.q.kl()).mean()


class WithDraws(torch.nn.Module):
    """A module that draws its own deviates."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        """Everything that the objective needs."""
        return self.module(x, torch.randn(1, len(x), self.module.n_components))


def time_stock(net, x, epochs):
    """Train by skorch as it comes."""
    stock = skorch.NeuralNet(
        WithDraws(copy.deepcopy(net.module_)),
        Objective(),
        optimizer=torch.optim.AdamW,
        optimizer__fused=True,
        optimizer__weight_decay=0,
        lr=LEARNING_RATE,
        batch_size=net.batch_size,
        max_epochs=epochs,
        train_split=None,
        iterator_train__shuffle=True,
        verbose=0,
    ).initialize()
    start = time.perf_counter()
    stock.partial_fit(x.numpy(), x.numpy())
    return time.perf_counter() - start, None


class Pythae:
    """The same networks in pythae's VAE, and its trainer.

    Its noise is fixed, so it learns one number less.
    """

    def __init__(self):
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.trainers import BaseTrainer, BaseTrainerConfig

        class Encoder(BaseEncoder):
            def __init__(self, network, d):
                super().__init__()
                self.network, self.latent_dim = network, d

            def forward(self, x):
                mu, log_variance = self.network(x).split(self.latent_dim, 1)
                return ModelOutput(embedding=mu, log_covariance=log_variance)

        class Decoder(BaseDecoder):
            def __init__(self, network):
                super().__init__()
                self.network = network

            def forward(self, z):
                return ModelOutput(reconstruction=self.network(z))

        self.parts = BaseDataset, VAE, VAEConfig, Encoder, Decoder, BaseTrainer, BaseTrainerConfig
        logging.disable(logging.INFO)

    def __call__(self, net, x, epochs):
        """Train by pythae's trainer."""
        Dataset, VAE, VAEConfig, Encoder, Decoder, Trainer, Config = self.parts
        module, d = copy.deepcopy(net.module_), net.module__n_components
        model = VAE(
            VAEConfig((x.shape[1],), d), Encoder(module.encoder, d), Decoder(module.decoder)
        )
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            config = Config(
                output_dir=folder,
                num_epochs=epochs,
                learning_rate=LEARNING_RATE,
                per_device_train_batch_size=net.batch_size,
                optimizer_cls="AdamW",
                optimizer_params={"fused": True, "weight_decay": 0.0},
                no_cuda=True,
            )
            trainer = Trainer(model, Dataset(x, torch.zeros(len(x))), training_config=config)
            trainer.save_model = lambda *args, **kwargs: None
            start = time.perf_counter()
            trainer.train()
            return time.perf_counter() - start, None


class Encdr:
    """The same networks in encdr's variational autoencoder, and its trainer; its noise is fixed."""

    def __init__(self):
        from encdr.autoencoder import VariationalAutoEncoder
        from encdr.encdr import VENCDR
        from lightning import Trainer

        class Model(VariationalAutoEncoder):
            def __init__(self, encoder, decoder, d):
                super().__init__(1, [], d, learning_rate=LEARNING_RATE)
                del self.encoder_backbone, self.fc_mu, self.fc_logvar
                self.network, self.decoder, self.d = encoder, decoder, d

            def encode(self, x):
                return self.network(x).split(self.d, 1)

            def configure_optimizers(self):
                return torch.optim.AdamW(
                    self.parameters(), lr=LEARNING_RATE, fused=True, weight_decay=0
                )

        self.parts = Model, VENCDR, Trainer
        logging.disable(logging.WARNING)

    def __call__(self, net, x, epochs):
        """Train by encdr's loader and trainer."""
        Model, VENCDR, Trainer = self.parts
        module, d = copy.deepcopy(net.module_), net.module__n_components
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Model(module.encoder, module.decoder, d)
            start = time.perf_counter()
            loader, _ = VENCDR(batch_size=net.batch_size, validation_split=0)._prepare_data(
                x.numpy()
            )
            trainer = Trainer(
                max_epochs=epochs,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                accelerator="cpu",
            )
            trainer.fit(model, loader)
        return time.perf_counter() - start, None


def medians(run, repeats):
    """Median time of each of several functions, interleaved.

    A first round does not count.
    """
    times = {name: [] for name in run}
    for i in range(repeats + 1):
        for name, function in run.items():
            seconds = function()
            if i:
                times[name].append(seconds)
    return {name: float(np.median(values)) for name, values in times.items()}


def steps(networks, repeats):
    """Table of the time per step of each way to train.

    And of how far the losses are from those of the loop by hand.
    """
    yield (
        f"{'network':23}{'batch':>6}{'by hand, ms/step':>18}{'package':>9}{'stock skorch':>14}"
        f"{'pythae':>8}{'encdr':>7}{'largest relative difference of losses':>39}"
    )
    ways = {"hand": time_by_hand, "package": time_lean, "stock": time_stock}
    ways |= {
        name: peer() for name, peer in {"pythae": Pythae, "encdr": Encdr}.items() if find_spec(name)
    }
    for (name, (D, hidden, d, batch)), kind in product(networks.items(), ("", ", plain")):
        x = torch.randn(20 * batch, D, generator=torch.Generator().manual_seed(0))
        plain = partial(plain_network, hidden=hidden, activation=torch.nn.ReLU)
        fresh = partial(
            lean_net, D, hidden, d, batch, **({"encoder": plain, "decoder": plain} if kind else {})
        )
        by_hand, lean = time_by_hand(fresh(), x, EPOCHS)[1], time_lean(fresh(), x, EPOCHS)[1]
        difference = np.abs(np.array(by_hand) / lean - 1).max()
        t = medians(
            {way: partial(timed, function, fresh, x) for way, function in ways.items()}, repeats
        )
        ratio = {
            way: t.get(way, np.nan) / t["hand"] for way in ("package", "stock", "pythae", "encdr")
        }
        yield (
            f"{name + kind:23}{batch:6}{t['hand'] * 1000 / (20 * EPOCHS):18.3f}"
            f"{ratio['package']:9.2f}{ratio['stock']:14.2f}{ratio['pythae']:8.2f}"
            f"{ratio['encdr']:7.2f}{difference:39.1e}"
        )


def posteriors(repeats):
    """Table of the time per step of other posteriors beside the diagonal one."""
    dims = (8, 32, 64, 256)
    x = torch.randn(20 * 128, 784, generator=torch.Generator().manual_seed(0))
    ratios = {"ar1": [], "full": []}
    for d in dims:
        kinds = {"diag": {}, "ar1": {"estimator": RhoVAETransformer}}
        if d <= 32:
            kinds["full"] = {"covariance_type": "full"}
        fresh = {
            kind: partial(lean_net, 784, (400,), d, 128, **params) for kind, params in kinds.items()
        }
        t = medians(
            {kind: partial(timed, time_lean, make, x) for kind, make in fresh.items()}, repeats
        )
        for kind, values in ratios.items():
            values.append(f"{t[kind] / t['diag']:.2f}" if kind in t else "-")
    yield f"{'posterior, at 784-400-d, batch 128':36}" + "".join(f"{f'd = {d}':>9}" for d in dims)
    for kind, values in ratios.items():
        yield f"{kind + ' beside diag':36}" + "".join(f"{value:>9}" for value in values)


def timed(function, fresh, x):
    """Run a way to train on a fresh net."""
    return function(fresh(), x, EPOCHS)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        *heading(
            f"speed.py --repeats {options.repeats}",
            ("torch", "skorch"),
            f"CPU, 1 thread, medians of {options.repeats} interleaved runs of {20 * EPOCHS} steps",
        ),
        "",
        *steps(NETWORKS, options.repeats),
        "",
        *posteriors(options.repeats),
    ]
    publish(lines, options.out)


if __name__ == "__main__":
    main()
