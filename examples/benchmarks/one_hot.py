"""Categories as categories, and as columns of zeros and ones that are taken for normal ones.

A model of normal columns gives a row a density, and a model of categories gives it a density times
a probability. To compare them, the first is asked for p(x) p(c | x): x are the numbers of a row, c
its categories, and p(c | x) is its density of (x, c) over the sum of those of (x, c') for all
combinations c' of levels. Tables with more than ``--most`` combinations are left out. Both models
have as many components and a noise for each column, and see the rows that ``mixed.py`` sees.

Run as ``python examples/benchmarks/one_hot.py --out examples/benchmarks/one_hot.txt``.
"""

import argparse
import itertools
import warnings

import numpy as np
import pandas as pd
from measures import standard_error
from mixed import TABLES, divided, load, n_components, ours
from report import heading, publish
from scipy.special import logsumexp
from sklearn.preprocessing import OneHotEncoder

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Gaussian


def score_of_normal_columns(train, test, seed):
    """Mean log p(x) p(c | x) of the rows of test, by a model of numbers and indicators."""
    is_category = train.columns.isin(train.select_dtypes(object).columns)
    encoder = OneHotEncoder(sparse_output=False).fit(train.loc[:, is_category])

    def joined(rows, categories):
        return np.hstack([rows.loc[:, ~is_category], encoder.transform(categories)])

    d, noise = n_components(train), Gaussian("per_feature")
    model = VAETransformer(d, likelihood=noise, random_state=seed)
    model.fit(joined(train, train.loc[:, is_category]))
    own = joined(test, test.loc[:, is_category])
    numbers = own.copy()
    numbers[:, (~is_category).sum() :] = np.nan
    each = []
    for levels in itertools.product(*encoder.categories_):
        row = pd.DataFrame([levels], columns=train.columns[is_category])
        each.append(model.score_samples(joined(test, row.loc[[0] * len(test)])))
    found = model.score_samples(numbers) + model.score_samples(own) - logsumexp(each, axis=0)
    return found.mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--max-rows", type=int, default=700)
    parser.add_argument("--most", type=int, default=300)
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = [
        *heading(
            f"one_hot.py --seeds {options.seeds} --max-rows {options.max_rows}",
            ("torch", "scikit-learn", "numpy"),
            "nats per held-out row",
        ),
        "",
        f"{'table':14}{'combinations':>13}{'categories':>12}{'normal':>10}   difference",
    ]
    for name in TABLES:
        frame, _ = load(name, options.max_rows)
        combinations = frame.select_dtypes(object).nunique().prod()
        if combinations > options.most:
            continue
        found = []
        for seed in range(options.seeds):
            train, test = divided(frame, seed)
            found.append(
                [ours(train, seed).score(test), score_of_normal_columns(train, test, seed)]
            )
        mean, gain = np.mean(found, axis=0), -np.diff(found)[:, 0]
        doubt = f" ± {standard_error(gain):.2f}" if options.seeds > 1 else ""
        lines.append(
            f"{name:14}{combinations:13}{mean[0]:12.2f}{mean[1]:10.2f}   {gain.mean():+.2f}{doubt}"
        )
        print(lines[-1], flush=True)
    publish(lines, options.out)


if __name__ == "__main__":
    main()
