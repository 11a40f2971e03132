"""VAEImputer: every check of scikit-learn, and what IterativeImputer does."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_vae import RhoVAETransformer, VAEImputer, VAETransformer

X_IRIS, Y_IRIS = load_iris(return_X_y=True)


def with_holes(X, share=0.3, seed=0):
    return np.where(np.random.RandomState(seed).random_sample(X.shape) < share, np.nan, X)


def quick(**params):
    estimator = VAETransformer(2, hidden_layer_sizes=(8,), max_iter=3)
    return VAEImputer(**{"estimator": estimator, "random_state": 0, **params})


@parametrize_with_checks(
    [
        quick(),
        quick(estimator=None),
        quick(sample_posterior=True),
        quick(add_indicator=True),
        quick(keep_empty_features=True),
        quick(estimator=RhoVAETransformer(2, hidden_layer_sizes=(), max_iter=2)),
    ]
)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("keep_empty_features", [False, True])
@pytest.mark.parametrize("add_indicator", [False, True])
@pytest.mark.parametrize("sample_posterior", [False, True])
def test_columns_are_those_of_the_iterative_imputer(
    keep_empty_features, add_indicator, sample_posterior
):
    X = pd.DataFrame(with_holes(X_IRIS), columns=["a", "b", "c", "d"])
    X["b"], X["d"] = np.nan, X_IRIS[:, 3]
    params = {"keep_empty_features": keep_empty_features, "add_indicator": add_indicator}
    ours = quick(sample_posterior=sample_posterior, **params).set_output(transform="pandas")
    theirs = IterativeImputer(max_iter=1, **params).set_output(transform="pandas")
    ours, theirs = ours.fit_transform(X), theirs.fit_transform(X)
    assert list(ours) == list(theirs)
    known = X["a"].notna()
    np.testing.assert_array_equal(ours["a"][known], X["a"][known])
    np.testing.assert_array_equal(ours["d"], X["d"])
    assert ours.notna().all(axis=None)


def test_draws_differ_by_the_seed_alone():
    X = with_holes(X_IRIS)
    one, same, other = (quick(sample_posterior=True, random_state=seed) for seed in (0, 0, 1))
    drawn = one.fit_transform(X)
    np.testing.assert_array_equal(drawn, same.fit_transform(X))
    np.testing.assert_array_equal(drawn, one.transform(X))
    assert not np.array_equal(drawn, other.fit_transform(X))


def test_in_a_pipeline():
    X = with_holes(X_IRIS)
    pipeline = make_pipeline(VAEImputer(random_state=0), LogisticRegression(max_iter=1000))
    assert cross_val_score(pipeline, X, Y_IRIS, cv=3).mean() > 0.85
    grid = GridSearchCV(
        make_pipeline(quick(), LogisticRegression(max_iter=1000)),
        {"vaeimputer__estimator__n_components": [1, 2]},
        cv=2,
    ).fit(X, Y_IRIS)
    assert grid.best_score_ > 0.7


def test_the_estimator_given_is_not_changed():
    estimator = VAETransformer(2, hidden_layer_sizes=(8,), max_iter=2)
    imputer = quick(estimator=estimator).fit(with_holes(X_IRIS))
    assert not hasattr(estimator, "net_")
    assert estimator.random_state is None
    assert imputer.estimator_.random_state is not None
    assert clone(imputer).estimator.n_components == 2
    given = VAETransformer(2, hidden_layer_sizes=(8,), max_iter=2, random_state=7)
    assert quick(estimator=given).fit(X_IRIS).estimator_.random_state == 7


def test_other_columns_than_in_the_fit():
    imputer = quick().fit(with_holes(X_IRIS))
    with pytest.raises(ValueError, match="4 features"):
        imputer.transform(X_IRIS[:, :3])


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_defaults_are_as_good_as_ridge_regressions(share):
    X = StandardScaler().fit_transform(load_wine().data)
    ratios = []
    for seed in range(2):
        holes = with_holes(X, share, seed)
        errors = [
            np.square(imputer.fit_transform(holes) - X)[np.isnan(holes)].mean() ** 0.5
            for imputer in (VAEImputer(random_state=0), IterativeImputer(random_state=0))
        ]
        ratios.append(errors[0] / errors[1])
    assert np.mean(ratios) < 1.02


def test_intervals_of_draws_hold_what_they_should():
    """As many columns as half the rows: a model of greatest likelihood would be too sure."""
    rng, covered = np.random.RandomState(0), []
    for seed in range(3):
        X = rng.standard_normal((60, 5)) @ rng.standard_normal((5, 30))
        X = X / X.std(axis=0) + 0.5 * rng.standard_normal(X.shape)
        holes = with_holes(X, 0.2, seed)
        imputer = VAEImputer(random_state=seed).fit(holes)
        draws = imputer.estimator_.impute(holes, multiple=50, random_state=seed)
        low, high = np.quantile(draws, [0.05, 0.95], axis=0, method="weibull")
        covered.append(((low <= X) & (high >= X))[np.isnan(holes)].mean())
    assert np.mean(covered) == pytest.approx(0.9, abs=0.05)
