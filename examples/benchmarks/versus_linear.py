"""Defaults against linear models: likelihood, reconstruction and a classifier on the components.

For each table of ``tables.py`` and d in 2 and 8 (below D), on rows held out in several random
splits: the score of PCA, FactorAnalysis, a Gaussian mixture and both estimators; reconstruction R²
(of PCA's projection, of probabilistic PCA's posterior mean, which shrinks, and of the estimators);
accuracy of logistic regression and of 5-nearest-neighbours on the components; how many of these are
active; the time of the fit; in brackets PCA's accuracy and the linear model's own active
components. All on features standardised with the training rows, so that nats can be compared, and
on defaults but for d. Tables of more than ``--max-rows`` rows are thinned to so many.

With ``--tables pydataset`` it is every table of that package that has 60 rows and four numeric
columns, and with ``--with-classes`` those of them that have classes.

With ``--ablate`` it is VAETransformer with one ingredient left out at a time, against PCA.

Run as ``python examples/benchmarks/versus_linear.py --out examples/benchmarks/versus_linear.txt``.
"""

import argparse
import os
import shlex
import time
import warnings
from contextlib import nullcontext
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from joblib import Parallel, delayed
from measures import CLASSIFIERS, accuracies, load_thinned, r2, split_of, standard_error
from plain import PlainPath, plain_network
from report import heading, publish
from scipy import stats
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.mixture import GaussianMixture

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.selection import starting_points

MODELS = {
    "vae": (VAETransformer, {}),
    "vae, noise per feature": (VAETransformer, {"likelihood": Gaussian("per_feature")}),
    "rho ar1": (RhoVAETransformer, {}),
    "rho scaled_ar1": (RhoVAETransformer, {"covariance_type": "scaled_ar1"}),
}
ABLATIONS = {
    "all of it": {},
    "no linear path": {
        "encoder": plain_network,
        "decoder": plain_network,
        "init": "random",
        "patch": ("_base.net.LinearPath", PlainPath),
    },
    "random start": {"init": "random"},
    "no second start": {
        "patch": ("_base.fitting.starting_points", lambda *args: starting_points(*args)[:1])
    },
    "noise fixed at 1/2": {"likelihood": Gaussian(noise_variance=0.5)},
    "no early stopping": {"early_stopping": False},
    "no averages": {"patch": ("training.averaging.WeightAverage.show", lambda *args: None)},
    "no limits": {"patch": ("training.limits.Limits.around", lambda self, step_fn: step_fn)},
    "no smaller steps": {
        "patch": ("selection.multistart.Trainer.decay", lambda self, run, stage: run)
    },
    "no refit": {"patch": ("selection.multistart.Trainer.refits", lambda *args: False)},
    "no growth of noise": {"likelihood": Gaussian(noise_growth=0.0)},
    "no margin": {"patch": ("likelihoods.noise.Noise.add_margin", lambda *args: None)},
    "no reach": {"patch": ("likelihoods.noise.farthest", lambda *args: np.inf)},
}
LINEAR_OF = {"vae, noise per feature": "factor analysis"}


def posterior_mean_of_ppca(pca, X):
    """What probabilistic PCA rebuilds from its posterior mean.

    Each component is shrunk by 1 - noise / eigenvalue.
    """
    shrink = 1 - pca.noise_variance_ / np.maximum(pca.explained_variance_, 1e-12)
    return pca.inverse_transform(pca.transform(X) * shrink)


def active_components(model, X):
    """How many components have a posterior mean that varies over the data, by more than 0.01."""
    if isinstance(model, PCA):
        return np.sum(
            1 - model.noise_variance_ / np.maximum(model.explained_variance_, 1e-12) > 0.01
        )
    if isinstance(model, FactorAnalysis):
        return np.sum(model.transform(X).var(axis=0) > 0.01)
    return model.n_active_components_


def chance_within(allowed, doubt, n_splits):
    """How often one of two equal models loses by at most `allowed`.

    Here `doubt` is the difference's standard error.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(doubt > 0, stats.t.cdf(allowed / doubt, n_splits - 1), 1.0)


def short(value, sign=""):
    """A number in nats, with two decimals unless there is no room for it."""
    return format(value, sign + (".2f" if not abs(value) >= 1e5 else ".1e"))


def without(params):
    """The parameters of an estimator, without what is patched."""
    return {key: value for key, value in params.items() if key != "patch"}


def patched(models, label):
    """The context in which a model is fitted."""
    target = models.get(label, (None, {}))[1].get("patch")
    return patch("sklearn_vae." + target[0], target[1]) if target else nullcontext()


def one_cell(name, X, y, d, split, models):
    """Every model on one split of one table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    train, test, y_train, y_test = split_of(X, y, split)
    out = {}
    for label, model in {
        "pca": PCA(d, random_state=0),
        "factor analysis": FactorAnalysis(d, random_state=0),
        **{
            label: cls(d, random_state=split).set_params(**without(params))
            for label, (cls, params) in models.items()
        },
    }.items():
        start = time.perf_counter()
        with patched(models, label):
            model.fit(train)
        cell = {"time": time.perf_counter() - start, "score": model.score(test)}
        if hasattr(model, "inverse_transform"):
            cell["r2"] = r2(test, model.inverse_transform(model.transform(test)))
        if label == "pca":
            cell["ppca r2"] = r2(test, posterior_mean_of_ppca(model, test))
        cell["active"] = active_components(model, train)
        out[label] = {**cell, **accuracies(model, train, test, y_train, y_test)}
    if train.shape[1] <= 100:
        mixture = GaussianMixture(3, random_state=0, reg_covar=1e-3).fit(train)
        out["gaussian mixture"] = {"score": mixture.score(test)}
    return name, d, out


def report(cells, models, write):
    """The table, cell by cell, and how often each model wins."""
    for label in models:
        linear = LINEAR_OF.get(label, "pca")
        is_beside_vae = label.startswith("rho") and "vae" in models
        write(
            f"\n{label} against {linear}: mean over splits (± standard error of the difference)\n"
        )
        write(
            f"{'table':15}{'d':>2}{'linear':>11}{'mixture':>11}{'gain, nats':>21}{'R²':>8}"
            f"{'pPCA':>7}{'PCA':>7}{'logistic':>16}{'5-nn':>14}{'active':>13}{'time, s':>9}"
        )
        wins, accuracy = [], []
        for (name, d), splits in cells.items():
            mean = {
                who: {
                    key: np.mean([s[who].get(key, np.nan) for s in splits])
                    for key in splits[0][who]
                }
                for who in splits[0]
            }
            gain = np.array([s[label]["score"] - s[linear]["score"] for s in splits])
            m, pca = mean[label], mean["pca"]
            mixture = mean.get("gaussian mixture", {"score": np.nan})["score"]
            write(
                f"{name:15}{d:2}{short(mean[linear]['score']):>11}{short(mixture):>11}"
                f"{short(gain.mean(), '+'):>12} ±{short(standard_error(gain)):>7}"
                f"{m['r2']:8.3f}{pca['ppca r2']:7.3f}{pca['r2']:7.3f}"
                f"{m['logistic']:9.3f} ({pca['logistic']:.3f}){m['5-nn']:7.3f} ({pca['5-nn']:.3f})"
                f"{m['active']:7.1f} ({mean[linear]['active']:.1f}){m['time']:9.1f}"
            )
            wins.append(
                {"gain": gain.mean(), "r2": m["r2"] - pca["r2"], "ppca": m["r2"] - pca["ppca r2"]}
            )
            if is_beside_vae:
                beside = np.array([s[label]["score"] - s["vae"]["score"] for s in splits])
                wins[-1] |= {
                    "beside": beside.mean(),
                    "as good": beside.mean() >= -standard_error(beside),
                }
            for key in CLASSIFIERS:
                theirs = np.array([s["pca"][key] for s in splits])
                differences = np.array([s[label][key] for s in splits]) - theirs
                accuracy.append(
                    [differences.mean(), standard_error(differences), standard_error(theirs)]
                )
        share = {key: np.array([w[key] for w in wins]) for key in wins[0]}
        write(
            f"  score above {linear}: {np.mean(share['gain'] > 0):.0%} of {len(wins)} cells, "
            f"more than 0.1 nat below: {np.sum(share['gain'] < -0.1)}, worst "
            f"{share['gain'].min():+.2f}, median {np.median(share['gain']):+.2f}\n"
            f"  R² above pPCA's posterior mean - 0.005: {np.mean(share['ppca'] > -0.005):.0%}; "
            f"above PCA: {np.mean(share['r2'] > 0):.0%}; worst {share['r2'].min():+.3f}"
        )
        difference, doubt, doubt_of_pca = (
            np.array([row for row in accuracy if not np.isnan(row).any()]).reshape(-1, 3).T
        )
        if len(difference):
            write(f"  accuracy above PCA's: {np.mean(difference > 0):.0%} of {len(difference)}")
            for whose, allowed in (("PCA's", doubt_of_pca), ("the difference's", doubt)):
                write(
                    f"  accuracy at least PCA's minus {whose} standard error: "
                    f"{np.mean(difference >= -allowed):.0%} (two equal models: "
                    f"{np.mean(chance_within(allowed, doubt, len(splits))):.0%})"
                )
        if is_beside_vae:
            write(
                "  score at least vae's minus one standard error of the difference: "
                f"{np.mean(share['as good']):.0%}, above vae's: "
                f"{np.mean(share['beside'] > 0):.0%}, median difference "
                f"{np.median(share['beside']):+.3f}"
            )


def report_ablations(cells, models, write):
    """Gain over PCA in nats for each cell, and how often each model wins."""
    write("\nscore minus PCA's, nats, mean over splits\n")
    write(f"{'table':23}{'d':>2}" + "".join(f"{label:>20}" for label in models))
    gains, rebuilt = [], []
    for (name, d), splits in cells.items():
        gains.append(
            [np.mean([s[label]["score"] - s["pca"]["score"] for s in splits]) for label in models]
        )
        rebuilt.append(
            [np.mean([s[label]["r2"] - s["pca"]["r2"] for s in splits]) for label in models]
        )
        write(f"{name:23}{d:2}" + "".join(f"{gain:+20.2f}" for gain in gains[-1]))
    for title, values, form in (
        ("score above PCA's", np.mean(np.array(gains) > 0, axis=0), "20.0%"),
        ("more than 0.1 nat below", np.mean(np.array(gains) < -0.1, axis=0), "20.0%"),
        ("median gain, nats", np.median(gains, axis=0), "+20.2f"),
        ("R² above PCA's", np.mean(np.array(rebuilt) > 0, axis=0), "20.0%"),
        ("median gain in R²", np.median(rebuilt, axis=0), "+20.3f"),
    ):
        write(f"{title:25}" + "".join(format(value, form) for value in values))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tables", nargs="*", help="names of tables, or pydataset; all named if not given"
    )
    parser.add_argument(
        "--with-classes", action="store_true", help="leave out tables that have no classes"
    )
    parser.add_argument(
        "--models", nargs="*", default=list(MODELS), help=f"among {', '.join(MODELS)}"
    )
    parser.add_argument(
        "--ablate",
        nargs="*",
        help=f"leave out one ingredient at a time, among {', '.join(ABLATIONS)}",
    )
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--max-rows", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    tables = load_thinned(options.tables, options.max_rows)
    if options.with_classes:
        tables = {name: (X, y) for name, (X, y) in tables.items() if y is not None}
    models = {name: MODELS[name] for name in options.models}
    if options.ablate is not None:
        models = {name: (VAETransformer, ABLATIONS[name]) for name in options.ablate or ABLATIONS}
    jobs = []
    for name, (X, y) in tables.items():
        for d in (2, 8):
            if d < min(X.shape):
                jobs += [(name, X, y, d, split, models) for split in range(options.splits)]
    cells = {}
    for name, d, out in Parallel(n_jobs=options.jobs)(delayed(one_cell)(*job) for job in jobs):
        cells.setdefault((name, d), []).append(out)
    asked = {
        key: value
        for key, value in vars(options).items()
        if value is not None and key != "out" and value != parser.get_default(key)
    }
    words = ["versus_linear.py"]
    for key, value in asked.items():
        words += [
            f"--{key.replace('_', '-')}",
            *([] if value is True else np.atleast_1d(value).astype(str)),
        ]
    lines = heading(
        shlex.join(words),
        ("torch", "scikit-learn", "numpy"),
        f"{len(cells)} cells, {options.splits} splits",
    )
    (report if options.ablate is None else report_ablations)(cells, models, lines.append)
    publish(lines, options.out)


if __name__ == "__main__":
    main()
