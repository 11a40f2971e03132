r"""The experiments of the rho-VAE paper (arXiv:1909.06236): as published, and as they should be.

Models are a perceptron (784-400-10, ReLU), the beta-VAE, the InfoVAE and a convolutional network.
Each is fitted with every posterior, on MNIST and on Fashion-MNIST. The protocols are

published   a loop written by hand, with the loss and the sampler of the paper's code ("published"),
            and the same loop with independent components ("diag")
paper       this package: grey pixels with the Bernoulli cross-entropy, batches of 128, Adam at
            1e-3, 15 epochs, random weights, no validation
corrected   binary pixels, a tenth of the rows held out to choose the weights, 15 epochs at most
small       the same with 10,000 pictures, 30 epochs at most, and 2,000 pictures to test on
ablation    the paper's protocol with one ingredient of `own` at a time
own         this package's own settings on a network of the same size
long        those without a validation set, for more epochs
burda       784-(200, 200 tanh)-50, pixels drawn anew each epoch (Burda et al. 2016)

A cell is one fit. Each finished cell is a row of the CSV, and a cell that is there is not run
again. Columns in nats per picture of the test set: ``reported`` is what the published loss says,
``bound`` minus the ELBO (8 draws). ``nll`` is minus the importance-weighted bound: 100 draws on up
to 5,000 pictures (corrected, small), 500 draws on all (burda). Of the posterior
there are the mean logarithms of the eigenvalues (``spectrum``), and what an AR(1) process and a
spherical covariance would lose against it in the best basis of each row (``gap_ar1``,
``gap_spherical``).

Run as ``python examples/benchmarks/rho_vae_paper.py --out rho_vae_paper.csv``. Data are fetched
from OpenML, unless ``--data mnist=mnist.npz fashion=FOLDER`` names an npz file or a folder of IDX
files. ``--only paper mnist`` takes the cells that have all of these words, ``--list`` shows them.
"""

import argparse
import csv
import gzip
import os
import time
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from plain import PlainPath
from skorch.callbacks import Callback
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.batch import Batch
from sklearn_vae.objectives import ELBO, InfoVAE, importance_weighted, reconstruction

DATA = {"mnist": "mnist_784", "fashion": "Fashion-MNIST"}  # names at OpenML
POSTERIORS = "diag", "scaled_ar1", "ar1", "full", "spherical"
D, BATCH, EPOCHS, RATE = 10, 128, 15, 1e-3
# The estimators divide the learning rate by the number of pixels over 200.
PER_PIXEL = 784 / 200
FILTERS, DENSE, FEW = (16, 32), (128,), 10_000  # the convolutional network, and its rows
COLUMNS = ["reported", "bound", "reconstruction", "kl", "nll", "nll_se", "seconds", "curve"]
COLUMNS += ["true_curve", "spectrum", "gap_ar1", "gap_spherical"]


class Cell(NamedTuple):
    """A fit: what names a row of the CSV."""

    protocol: str
    data: str
    model: str
    posterior: str
    seed: int
    epochs: int


def cells():
    """All cells, what matters most first."""
    both = "fashion", "mnist"
    yield from (
        Cell("published", data, "mlp", posterior, 0, EPOCHS)
        for posterior in ("published", "diag")
        for data in both
    )
    for seed, posteriors in enumerate([POSTERIORS, POSTERIORS[:3], POSTERIORS[:3]]):
        for posterior in posteriors:
            yield from (Cell("paper", data, "mlp", posterior, seed, EPOCHS) for data in both)
    for data in both:
        yield Cell("long", data, "mlp", "diag", 0, 100)
        yield Cell("ablation", data, "averages", "diag", 0, EPOCHS)
        yield Cell("ablation", data, "start", "diag", 0, EPOCHS)
        yield Cell("own", data, "mlp", "diag", 0, 45)
    for seed in range(3):
        for posterior in POSTERIORS:
            yield from (Cell("small", data, "mlp", posterior, seed, 30) for data in both)
    for seed in range(3):
        for posterior in POSTERIORS:
            yield from (Cell("corrected", data, "mlp", posterior, seed, EPOCHS) for data in both)
    for objective, epochs in {"elbo": 60, "iwae": 40}.items():
        yield Cell("burda", "mnist", objective, "diag", 0, epochs)
    for seed in range(3):
        for model in ("beta", "info", "cnn"):
            for posterior in POSTERIORS:
                yield from (Cell("paper", data, model, posterior, seed, EPOCHS) for data in both)
    for seed in (1, 2):
        for posterior in POSTERIORS[3:]:
            yield from (Cell("paper", data, "mlp", posterior, seed, EPOCHS) for data in both)


# --- data -----------------------------------------------------------------------------------------


def idx(path):
    """The array in an IDX file, which may be compressed."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        head = file.read(4)
        shape = np.frombuffer(file.read(4 * head[3]), dtype=">i4")
        return np.frombuffer(file.read(), dtype=np.uint8).reshape(shape)


def load(name, path=None):
    """Pixels in [0, 1] of 60,000 pictures to train on and 10,000 to test on, as flat rows."""
    if path is None:
        from sklearn.datasets import fetch_openml

        X = fetch_openml(DATA[name], version=1, as_frame=False).data
        parts = X[:60_000], X[60_000:]
    elif Path(path).is_dir():
        found = (next(Path(path).glob(f"{part}-images*ubyte*")) for part in ("train", "t10k"))
        parts = [idx(file) for file in found]
    else:
        with np.load(path) as file:
            parts = file["x_train"], file["x_test"]
    return [np.divide(part.reshape(len(part), -1), 255, dtype=np.float32) for part in parts]


def binary(X, seed):
    """Pixels drawn once, each with its grey value as its probability."""
    drawn = torch.rand(X.shape, generator=torch.Generator().manual_seed(seed)).numpy()
    return (drawn < X).astype(np.float32)


class NewPixels(Callback):
    """Draw the binary pixels of all rows trained on anew for each epoch."""

    grey = None

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        x = dataset_train.rows.x
        if self.grey is None:
            self.grey, self.generator = x.clone(), torch.Generator().manual_seed(0)
        x.copy_(torch.bernoulli(self.grey, generator=self.generator))


# --- the paper's code -----------------------------------------------------------------------------


class Published(nn.Module):
    """784-400-10 as published: a mean, rho and log s of each row, or d log-variances."""

    def __init__(self, is_rho):
        super().__init__()
        self.is_rho = is_rho
        self.hidden, self.mean = nn.Linear(784, 400), nn.Linear(400, D)
        self.others = nn.Linear(400, 2 if is_rho else D)
        self.decoder = nn.Sequential(nn.Linear(D, 400), nn.ReLU(), nn.Linear(400, 784))

    def encode(self, x):
        """Mu, rho (None for independent components) and the logarithms of the variances."""
        h = torch.relu(self.hidden(x))
        others = self.others(h)
        if not self.is_rho:
            return self.mean(h), None, others
        return self.mean(h), torch.tanh(others[:, :1]), others[:, 1:]

    def draw(self, mean, rho, log_s):
        """The published sampler: a random walk, in which rho plays no part."""
        if rho is None:
            return mean + torch.exp(0.5 * log_s) * torch.randn_like(mean)
        z = torch.randn_like(rho) * torch.sqrt(log_s.exp())
        for _ in range(1, D):
            step = z[:, -1:] + torch.randn_like(rho) * torch.sqrt(log_s.exp())
            z = torch.cat([z, step], 1)
        return z + mean

    def published_kl(self, mean, rho, log_s):
        """The published KL: a sum over the batch plus a mean over the batch."""
        if rho is None:
            return self.kl(mean, rho, log_s).sum()
        log_det = D * log_s + (D - 1) * torch.log(1 - rho**2)
        return 0.5 * (torch.sum(mean.pow(2)) - log_det + D * (log_s.exp() - 1)).mean()

    def kl(self, mean, rho, log_s):
        """The KL of what the sampler draws, of each row: its variances are s, 2 s, 3 s ..."""
        growth = 1 if rho is None else torch.arange(1, D + 1)
        variances, log_det = growth * log_s.exp().expand_as(mean), log_s.expand_as(mean)
        return 0.5 * (mean.square() + variances - log_det - 1).sum(1)

    def forward(self, x):
        """The cross-entropy of the batch, the published KL, and the true one, as sums."""
        q = self.encode(x)
        logits = self.decoder(self.draw(*q))
        loss = binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return loss, self.published_kl(*q), self.kl(*q).sum()


def run_published(cell, X, X_test):
    """Train by hand; the curves are of the test set after each epoch."""
    with torch.random.fork_rng():
        torch.manual_seed(cell.seed)
        net = Published(cell.posterior == "published")
        optimizer, curves, begun = torch.optim.Adam(net.parameters(), RATE), [], time.process_time()
        for _ in range(cell.epochs):
            for rows in torch.randperm(len(X)).split(BATCH):
                loss, kl, _ = net(X[rows])
                optimizer.zero_grad()
                (loss + kl).backward()
                optimizer.step()
            with torch.no_grad():
                sums = np.array([[part.item() for part in net(x)] for x in X_test.split(BATCH)])
            curves.append(sums.sum(0) / len(X_test))
    curves = np.array(curves)
    reported, true = curves[:, 0] + curves[:, 1], curves[:, 0] + curves[:, 2]
    return {
        "reported": reported[-1],
        "bound": true[-1],
        "reconstruction": curves[-1, 0],
        "kl": curves[-1, 2],
        "seconds": time.process_time() - begun,
        "curve": reported,
        "true_curve": true,
    }


# --- this package ---------------------------------------------------------------------------------


def estimator(cell, **settings):
    """The estimator of a cell's posterior."""
    rho = cell.posterior.endswith("ar1")
    make = RhoVAETransformer if rho else VAETransformer
    return make(covariance_type=cell.posterior, random_state=cell.seed, **settings)


def plain(n_in, n_out, make=None):
    """A perceptron without the linear path."""
    layers = nn.Linear(n_in, 400), nn.ReLU(), nn.Linear(400, n_out)
    return PlainPath(n_in, n_out, lambda *_: nn.Sequential(*layers))


def settings_of(cell):
    """Parameters of the estimator."""
    common = {"likelihood": "bernoulli", "standardize": False, "max_iter": cell.epochs}
    common |= {"batch_size": BATCH, "activation": "relu", "hidden_layer_sizes": (400,)}
    common |= {"n_components": D, "device": "cpu"}
    paper = common | {"init": "random", "learning_rate_init": RATE * PER_PIXEL}
    paper["early_stopping"] = False
    if cell.model in ("beta", "info"):
        paper["objective"] = ELBO(beta=4) if cell.model == "beta" else InfoVAE()
    if cell.model == "cnn":
        paper |= {"image_shape": (28, 28), "n_filters": FILTERS, "hidden_layer_sizes": DENSE}
    if cell.model == "averages":
        paper["net_params"] = {"module__encoder": plain, "module__decoder": plain}
    return {
        "paper": paper,
        "corrected": paper | {"early_stopping": True},
        "small": paper | {"early_stopping": True},
        "ablation": paper | ({"init": "auto"} if cell.model == "start" else {}),
        "long": common | {"early_stopping": False},
        "own": common,
        "burda": common
        | {
            "n_components": 50,
            "hidden_layer_sizes": (200, 200),
            "activation": "tanh",
            "objective": cell.model,
            "early_stopping": False,
            "n_iter_no_change": cell.epochs,
            "net_params": {"callbacks": [("new_pixels", NewPixels())]},
        },
    }[cell.protocol]


@torch.no_grad()
def mean_over_draws(function, module, X, draws, seed=0):
    """``function(output, rows)`` of each row, over draws of its own; (n,)."""
    generator, parts = torch.Generator().manual_seed(seed), []
    for x in torch.from_numpy(X).split(max(1, 4000 // draws)):
        eps = torch.randn(draws, len(x), module.n_components, generator=generator)
        parts.append(function(module(x, eps), Batch(x)))
    return torch.cat(parts)


def gaps(v):
    """What AR(1) and spherical covariances lose against eigenvalues v (n, d); nats of each row."""
    d, v = v.shape[1], np.sort(v)
    distances = np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    gap = []
    for rho in np.linspace(0, 0.995, 100):  # the first is spherical
        ratio = np.linalg.eigvalsh(rho**distances) / v
        gap.append(0.5 * d * (np.log(ratio.mean(1)) - np.log(ratio).mean(1)))
    return np.min(gap, axis=0), gap[0]


def run(cell, X, X_test):
    """Fit one model of this package, and measure it on the test set."""
    if cell.model == "cnn" or cell.protocol == "small":
        X = X[:FEW]
    if cell.protocol == "small":
        X_test = X_test[:2000]
    if cell.protocol in ("corrected", "small"):
        X, X_test = binary(X, 1), binary(X_test, 2)
    if cell.protocol == "burda":
        X_test = binary(X_test, 2)
    model, begun = estimator(cell, **settings_of(cell)), time.process_time()
    model.fit(X)
    seconds, module = time.process_time() - begun, model.net_.module_
    rebuilt = mean_over_draws(reconstruction, module, X_test, 8).mean().item()
    with torch.no_grad():
        kl = module.encode(torch.from_numpy(X_test)).kl().mean().item()
    out = {"bound": kl - rebuilt, "reconstruction": -rebuilt, "kl": kl, "seconds": seconds}
    _, covariance = model.posterior(X_test[:1000])
    v = np.linalg.eigvalsh(covariance.astype(float)).clip(1e-12)
    out["spectrum"] = np.log(v).mean(0)
    out["gap_ar1"], out["gap_spherical"] = (gap.mean() for gap in gaps(v))
    draws, n = {"small": (100, 2000), "corrected": (100, 5000), "burda": (500, 10_000)}.get(
        cell.protocol, (0, 0)
    )
    if draws:
        nll = -mean_over_draws(importance_weighted, module, X_test[:n], draws, 1)
        out |= {"nll": nll.mean().item(), "nll_se": nll.std().item() / len(nll) ** 0.5}
    out["curve"] = model.validation_loss_curve_ or model.loss_curve_
    return out


# --- the table ------------------------------------------------------------------------------------


def done(path):
    """Cells that are in the CSV."""
    if not path.exists():
        return set()
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {tuple(row[name] for name in Cell._fields) for row in rows}


def text(value):
    """A number or an array of them, as it stands in the CSV."""
    if np.ndim(value):
        return " ".join(f"{one:.4g}" if abs(one) < 1 else f"{one:.2f}" for one in value)
    return f"{value:.4f}"


def append(path, cell, result):
    is_new = not path.exists()
    line = dict(zip(Cell._fields, map(str, cell), strict=True))
    line |= {name: text(value) for name, value in result.items()}
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [*Cell._fields, *COLUMNS], lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=[], help="name=path, of an npz file or folder")
    parser.add_argument("--out", type=Path, default=Path("rho_vae_paper.csv"))
    parser.add_argument("--only", nargs="*", default=[], help="words that a cell must have")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    paths, loaded = dict(pair.split("=") for pair in options.data), {}
    wanted = [cell for cell in cells() if {*options.only} <= {*map(str, cell)}]
    for number, cell in enumerate(wanted, 1):
        if options.list or tuple(map(str, cell)) in done(options.out):
            print(f"{number}/{len(wanted)}", *cell, "" if options.list else "is there")
            continue
        if cell.data not in loaded:
            loaded[cell.data] = load(cell.data, paths.get(cell.data))
        X, X_test = loaded[cell.data]
        begun = time.time()
        if cell.protocol == "published":
            result = run_published(cell, torch.from_numpy(X), torch.from_numpy(X_test))
        else:
            result = run(cell, X, X_test)
        append(options.out, cell, result)
        shown = {name: round(float(result[name]), 2) for name in COLUMNS[:6] if name in result}
        print(f"{number}/{len(wanted)}", *cell, shown, f"{time.time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
