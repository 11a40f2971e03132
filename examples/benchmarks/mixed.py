"""Tables of mixed columns: held-out likelihood, and samples beside those of SDV's synthesizers.

For each table, a part of the rows is held out. The held-out log-likelihood per row stands beside
that of independent columns: a normal distribution for each column of numbers, and frequencies for
each category. As many rows as were trained on are then sampled from each model, and two classifiers
say what the samples are worth:

utility      a random forest is trained on samples to tell one categorical column, and tested on the
             held-out rows; its accuracy, over that of the same forest trained on the real rows
detection    a random forest is told to tell held-out rows from as many samples; its accuracy, where
             0.5 means that it cannot

SDV is asked where it is installed (`pip install sdv`), at its defaults. Run as
``python examples/benchmarks/mixed.py --out examples/benchmarks/mixed.txt``.
"""

import argparse
import os
import time
import warnings
from importlib.util import find_spec

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from measures import standard_error
from report import heading, publish
from scipy.stats import norm
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from tables import _read_csv

from sklearn_vae import VAETransformer

TABLES = {  # package, file, the column that classifiers tell
    "carseats": ("ISLP", "data/Carseats.csv", "ShelveLoc"),
    "credit": ("ISLP", "data/Credit.csv", "Married"),
    "default": ("ISLP", "data/Default.csv", "student"),
    "wage": ("ISLP", "data/Wage.csv", "education"),
    "orange juice": ("ISLP", "data/OJ.csv", "Purchase"),
    "hitters": ("ISLP", "data/Hitters.csv", "Division"),
    "penguins": ("plotnine", "data/penguins.csv", "species"),
    "cars": ("plotnine", "data/mpg.csv", "drv"),
    "diamonds": ("plotnine", "data/diamonds.csv", "cut"),
}


def load(name, max_rows):
    """A table, complete rows only, its categories as strings."""
    package, file, target = TABLES[name]
    frame = _read_csv(package, file, name).dropna()
    frame = frame.drop(columns=[c for c in frame if c.startswith(("Unnamed", "rownames", "ID"))])
    for column in frame:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].astype(str).astype(object)
    few = frame.nunique() > 1
    frame = frame.loc[:, few]
    frame = frame.loc[:, [c for c in frame if frame[c].nunique() <= 50 or frame[c].dtype != object]]
    frame.columns = [str(c) for c in frame]
    return frame.sample(min(len(frame), max_rows), random_state=0).reset_index(drop=True), target


def independent(train, test):
    """The held-out log-likelihood of columns that tell nothing of one another."""
    total = 0.0
    for column in train:
        if train[column].dtype == object:
            levels = train[column].unique()
            counts = train[column].value_counts().reindex(levels) + 1
            total += np.log((counts / counts.sum()).reindex(test[column]).to_numpy()).mean()
        else:
            total += norm.logpdf(test[column], train[column].mean(), train[column].std()).mean()
    return total


def forest():
    """A random forest over columns of any kind."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer(
        (encoder, make_column_selector(dtype_include=object)), remainder="passthrough"
    )
    return make_pipeline(columns, RandomForestClassifier(200, random_state=0))


def utility(rows, test, target):
    """Accuracy on held-out rows of a classifier trained on rows."""
    X, y = rows.drop(columns=target), rows[target].astype(str)
    return forest().fit(X, y).score(test.drop(columns=target), test[target].astype(str))


def detection(samples, test):
    """Accuracy of a classifier that tells held-out rows from samples."""
    n = min(len(samples), len(test))
    both = pd.concat([test[:n], samples[:n]], ignore_index=True)
    labels = np.repeat([0, 1], n)
    return cross_val_score(forest(), both, labels, cv=5).mean()


def divided(frame, seed):
    """Rows to train on, and rows held out whose categories are all among theirs."""
    train, test = train_test_split(frame, test_size=0.3, random_state=seed)
    seen = [test[c].isin(train[c].unique()) for c in train if train[c].dtype == object]
    return train, test[np.logical_and.reduce(seen)] if seen else test


def n_components(train):
    """Ten, but fewer than there are columns."""
    return min(10, train.shape[1] - 1)


def ours(train, seed):
    """A fit of the VAE on its defaults."""
    d = n_components(train)
    return VAETransformer(d, handle_unknown="ignore", random_state=seed).fit(train)


def synthesizers():
    """Functions f(train, seed) -> samples, by name."""
    out = {"vae": None}
    if find_spec("sdv"):
        from sdv.metadata import Metadata
        from sdv.single_table import GaussianCopulaSynthesizer, TVAESynthesizer

        def of(cls):
            def make(train, seed):
                np.random.seed(seed)  # noqa: NPY002, as SDV draws from it
                model = cls(Metadata.detect_from_dataframes({"table": train}))
                model.fit({"table": train})
                return model.sample(len(train))["table"]

            return make

        out |= {"tvae": of(TVAESynthesizer), "copula": of(GaussianCopulaSynthesizer)}
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--max-rows", type=int, default=1500)
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    makers = synthesizers()
    packages = ["torch", "scikit-learn", "numpy", *(["sdv"] if "tvae" in makers else [])]
    lines = [
        *heading(f"mixed.py --seeds {options.seeds} --max-rows {options.max_rows}", packages),
        "",
        f"{'table':14}{'rows':>6}{'nats/row':>10}{'indep.':>8}"
        + "".join(f"{f'utility {k}':>16}{f'detect. {k}':>16}{'s':>6}" for k in makers),
    ]
    means = []
    for name in TABLES:
        frame, target = load(name, options.max_rows)
        found = []
        for seed in range(options.seeds):
            train, test = divided(frame, seed)
            real, row = utility(train, test, target), []
            for label, make in makers.items():
                begun = time.process_time()
                if label == "vae":
                    model = ours(train, seed)
                    samples = model.sample(len(train), random_state=seed)
                    row += [model.score(test), independent(train, test)]
                    samples = samples.astype({c: train[c].dtype for c in train})
                else:
                    samples = make(train, seed)
                seconds = time.process_time() - begun
                row += [utility(samples, test, target) / real, detection(samples, test), seconds]
            found.append(row)
        row, doubt = np.mean(found, axis=0), [*map(standard_error, np.transpose(found))]
        numbers = [f"{value:.2f} ± {se:.2f}" for value, se in zip(row, doubt, strict=True)]
        lines.append(
            f"{name:14}{len(frame):6}{row[0]:10.2f}{row[1]:8.2f}"
            + "".join(
                f"{numbers[i]:>16}{numbers[i + 1]:>16}{row[i + 2]:6.1f}"
                for i in range(2, len(row), 3)
            )
        )
        print(lines[-1], flush=True)
        means.append(row)
    lines.append("")
    utilities, detections = np.transpose(means)[2::3], np.transpose(means)[3::3]
    for label, other, told in zip([*makers][1:], utilities[1:], detections[1:], strict=True):
        lines.append(
            f"vae ahead of {label}: utility on {(utilities[0] > other).sum()}, "
            f"detection on {(detections[0] < told).sum()} of {len(means)} tables"
        )
    publish(lines, options.out)


if __name__ == "__main__":
    main()
