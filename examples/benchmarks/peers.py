"""A default fit beside others' defaults: CPU seconds, and reconstruction R² of held-out rows.

VAETransformer, PCA, UMAP (umap-learn), MLPRegressor trained to give back its input through d units,
pythae's VAE with its default trainer and encdr's VAE, each on standardised features and one thread,
in turn, several times; medians. Each was fitted once before, to a few rows: UMAP compiles then.
UMAP's R² is that of its inverse transform, and is left out where that takes minutes. Others take
part if they are installed (``pip install umap-learn pythae encdr``; on Python 3.11 encdr 1.2 runs
if ``--ignore-requires-python`` is given).

Run as ``python examples/benchmarks/peers.py --out examples/benchmarks/peers.txt``.
"""

import argparse
import contextlib
import io
import os
import tempfile
import time
import warnings
from importlib.util import find_spec

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np
import torch
from measures import r2, split_of
from report import heading, publish
from sklearn.decomposition import PCA
from sklearn.neural_network import MLPRegressor
from tables import load_tables

from sklearn_vae import VAETransformer

TABLES = "wine", "breast_cancer", "digits", "mnist", "shuttle"


class Bottleneck:
    """An autoencoder of scikit-learn's perceptron."""

    def __init__(self, d, seed):
        self.model = MLPRegressor(
            hidden_layer_sizes=(128, d, 128), activation="tanh", random_state=seed
        )

    def fit(self, X):
        """Train it to give back X."""
        self.model.fit(X, X)
        return self

    def predict(self, X):
        """What the perceptron gives back."""
        return self.model.predict(X)


class Umap:
    """UMAP with its inverse."""

    def __init__(self, d, seed):
        import umap

        self.model = umap.UMAP(n_components=d, random_state=seed, n_jobs=1)

    def fit(self, X):
        """Embed X."""
        self.model.fit(X)
        return self

    def predict(self, X):
        """What a row's embedding is taken back to."""
        if len(X) > 500 or X.shape[1] > 40 or self.model.n_components > 2:
            return None
        return self.model.inverse_transform(self.model.transform(X))


class Pythae:
    """pythae's VAE as its pipeline trains it."""

    def __init__(self, d, seed):
        self.d, self.seed = d, seed

    def fit(self, X):
        """Train on X."""
        from pythae.models import VAE, VAEConfig
        from pythae.pipelines import TrainingPipeline
        from pythae.trainers import BaseTrainerConfig

        torch.manual_seed(self.seed)
        self.model = VAE(VAEConfig(input_dim=(X.shape[1],), latent_dim=self.d))
        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(output_dir=folder, no_cuda=True)
            TrainingPipeline(training_config=config, model=self.model)(X.astype(np.float32))
        return self

    def predict(self, X):
        """What a row's code is decoded to."""
        rows = torch.from_numpy(X.astype(np.float32))
        with torch.no_grad():
            mean = self.model.encoder(rows).embedding
            return self.model.decoder(mean).reconstruction.numpy()


class Encdr:
    """encdr's variational autoencoder."""

    def __init__(self, d, seed):
        from encdr.encdr import VENCDR

        quiet = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
        quiet |= {"enable_progress_bar": False, "enable_model_summary": False}
        self.model = VENCDR(latent_dim=d, random_state=seed, trainer_kwargs=quiet)

    def fit(self, X):
        """Train on X."""
        self.model.fit(X)
        return self

    def predict(self, X):
        """What a row's code is decoded to."""
        return self.model.predict(X)


def rebuilt(model, X):
    """By whatever the model calls it."""
    if hasattr(model, "inverse_transform"):
        return model.inverse_transform(model.transform(X))
    return model.predict(X)


def peers():
    """Names and factories f(d, seed)."""
    yield "PCA", lambda d, seed: PCA(d, random_state=seed)
    yield "VAETransformer", lambda d, seed: VAETransformer(d, random_state=seed)
    yield "MLPRegressor", Bottleneck
    if find_spec("umap"):
        yield "UMAP", Umap
    if find_spec("pythae"):
        yield "pythae", Pythae
    if find_spec("encdr"):
        yield "encdr", Encdr


def measure(name, d, repeats, leave_out):
    """{model: (median seconds, mean R²)} of one table."""
    X = load_tables([name])[name][0]
    cells = {}
    for seed in range(repeats):
        train, test, *_ = split_of(X, None, seed)
        for label, make in peers():
            if label in leave_out:
                continue
            start = time.process_time()
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                model = make(d, seed).fit(train)
                seconds = time.process_time() - start
                again = rebuilt(model, test)
            explained = np.nan if again is None else r2(test, again)
            cells.setdefault(label, []).append((seconds, explained))
    return {
        label: (np.median([c[0] for c in runs]), np.mean([c[1] for c in runs]))
        for label, runs in cells.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="*", default=list(TABLES))
    parser.add_argument("--d", nargs="*", type=int, default=[2, 8])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--leave-out", nargs="*", default=[])
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for label, make in peers():
        if label not in options.leave_out:
            with contextlib.redirect_stdout(io.StringIO()):
                make(2, 0).fit(np.random.RandomState(0).rand(200, 5))
    words = f"peers.py --tables {' '.join(options.tables)} --d {' '.join(map(str, options.d))}"
    words += f" --repeats {options.repeats}"
    words += f" --leave-out {' '.join(options.leave_out)}" if options.leave_out else ""
    packages = ["torch", "scikit-learn"]
    extras = {"umap-learn": "umap", "pythae": "pythae", "encdr": "encdr"}
    packages += [package for package, module in extras.items() if find_spec(module)]
    lines = heading(words, packages, "one thread")
    lines += ["", "CPU seconds of a fit (median), and R² of held-out rows (mean)", ""]
    for name in options.tables:
        for d in options.d:
            cells = measure(name, d, options.repeats, options.leave_out)
            lines.append(
                f"{name:14} d={d}  "
                + "  ".join(
                    f"{label} {seconds:8.2f} s {explained:6.3f}"
                    for label, (seconds, explained) in cells.items()
                )
            )
            print(lines[-1], flush=True)
    publish(lines, options.out)


if __name__ == "__main__":
    main()
