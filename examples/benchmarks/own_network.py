"""A network of a user's own, with residual blocks and normalisation, beside the built-in one.

Held-out log-likelihood in nats, at the start and after training; defaults but for the networks. PCA
of the same columns is where both start. Columns are standardised, but for the pixels of digits.

Run as ``python examples/benchmarks/own_network.py --out examples/benchmarks/own_network.txt``.
"""

import argparse
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from measures import load_thinned, split_of, standard_error
from report import heading, publish
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from torch import nn

from sklearn_vae import VAETransformer

D = 4
SHARED_UNIT = ("digits",)
START = {"learning_rate_init": 1e-12, "max_iter": 1, "early_stopping": False}


class Residual(nn.Module):
    """A linear layer, two residual blocks with normalisation over the batch, a linear layer."""

    def __init__(self, n_in, n_out, width=128):
        super().__init__()
        self.first, self.last = nn.Linear(n_in, width), nn.Linear(width, n_out)
        blocks = (
            nn.Sequential(
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.Linear(width, width),
            )
            for _ in range(2)
        )
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        """Map (n, n_in) to (n, n_out)."""
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--max-rows", type=int, default=2000)
    parser.add_argument("--tables", nargs="*", default=["breast_cancer", "vehicle", "digits"])
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    own, lines = {"encoder": Residual, "decoder": Residual}, []
    for name, (X, y) in load_thinned(options.tables, options.max_rows).items():
        scores = []
        for seed in range(options.splits):
            if name in SHARED_UNIT:
                train, test = train_test_split(X[:, X.std(axis=0) > 0.1], random_state=seed)
            else:
                train, test, _, _ = split_of(X, y, seed)
            begun = time.process_time()
            models = [PCA(D), VAETransformer(D, random_state=seed, **own, **START)]
            models += [VAETransformer(D, random_state=seed, **each) for each in (own, {})]
            scores.append([model.fit(train).score(test) for model in models])
            print(
                name, seed, np.round(scores[-1], 3), round(time.process_time() - begun), flush=True
            )
        gain = np.subtract(*np.transpose(scores)[2:])
        means = np.mean(scores, axis=0)
        line = f"{name:15}" + "{:10.2f}{:10.2f}{:10.2f}{:12.2f}".format(*means)
        lines.append(line + f"{gain.mean():10.2f} ± {standard_error(gain):.2f}")
    head = heading(
        f"own_network.py --splits {options.splits} --max-rows {options.max_rows}",
        ("torch", "scikit-learn", "numpy"),
        f"d = {D}, held-out nats per row, means over splits",
    )
    columns = f"{'table':15}{'PCA':>10}{'start':>10}{'own':>10}{'built in':>12}"
    publish([*head, "", columns + f"{'own - built in':>17}", *lines], options.out)


if __name__ == "__main__":
    main()
