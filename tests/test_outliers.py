"""VAEOutlierDetector: every check of scikit-learn, and which column is to blame."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_vae import RhoVAETransformer, VAEOutlierDetector, VAETransformer
from sklearn_vae.likelihoods import Gaussian

X_WINE = load_wine().data


def quick(
    Estimator=VAETransformer, random_state=0, contamination=0.1, support_fraction=None, **params
):
    params = {"hidden_layer_sizes": (8,), "max_iter": 3, **params}
    estimator = Estimator(params.pop("n_components", 2), **params)
    return VAEOutlierDetector(
        estimator,
        contamination=contamination,
        support_fraction=support_fraction,
        random_state=random_state,
    )


@parametrize_with_checks(
    [
        VAEOutlierDetector(),
        quick(RhoVAETransformer, hidden_layer_sizes=(), contamination=0.3, support_fraction=0.6),
    ]
)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("contamination", [0.05, 0.25, 0.5])
def test_the_methods_mean_what_they_do_elsewhere(contamination):
    """As in EllipticEnvelope."""
    detector = quick(contamination=contamination)
    is_inlier = detector.fit_predict(X_WINE)
    score, decision = detector.score_samples(X_WINE), detector.decision_function(X_WINE)
    np.testing.assert_array_equal(score, detector.estimator_.score_samples(X_WINE))
    np.testing.assert_allclose(decision, score - detector.offset_)
    np.testing.assert_array_equal(is_inlier, np.where(decision >= 0, 1, -1))
    theirs = EllipticEnvelope(contamination=contamination, random_state=0).fit_predict(X_WINE)
    assert (is_inlier == -1).sum() == (theirs == -1).sum()


def test_a_linear_model_scores_as_its_normal_distribution():
    """Minus half the Mahalanobis distance, but for a constant."""
    detector = quick(hidden_layer_sizes=(), max_iter=1, early_stopping=False).fit(X_WINE)
    model = detector.estimator_
    vae, scale = model.net_.module_, model.scale_
    W = vae.decoder.linear.weight.detach().numpy().astype(np.float64) * scale[:, None]
    b = vae.decoder.linear.bias.detach().numpy() * scale + model.mean_
    covariance = W @ W.T + np.diag(model.noise_variance_)
    away = X_WINE - b
    distance = np.einsum("ij,ij->i", away @ np.linalg.inv(covariance), away)
    expected = -0.5 * (distance + np.linalg.slogdet(2 * np.pi * covariance)[1])
    np.testing.assert_allclose(detector.score_samples(X_WINE), expected, rtol=1e-4)


def test_a_value_out_of_place_is_blamed_on_its_column():
    """For each column in turn, in whatever unit."""
    units = 10.0 ** (np.arange(X_WINE.shape[1]) % 7 - 3)
    X = X_WINE * units
    detector = VAEOutlierDetector(random_state=0).fit(X)
    blamed = []
    before = detector.score_samples(X[::18])
    for column in range(X.shape[1]):
        rows = X[::18].copy()
        rows[:, column] += 8 * X[:, column].std()
        assert (detector.score_samples(rows) < before).all()
        contributions = detector.feature_contributions(rows)
        blamed.append((contributions.argmax(axis=1) == column).mean())
    assert min(blamed) > 0.9


def test_contributions_are_the_terms_of_the_reconstruction_error():
    """With a Gaussian, over twice its variance, each less its median."""
    detector = quick(likelihood=Gaussian(0.5)).fit(X_WINE)
    model = detector.estimator_
    squares = np.square(X_WINE - model.inverse_transform(model.transform(X_WINE)))
    terms = 0.5 * squares / model.noise_variance_
    expected = terms - np.median(terms, axis=0)
    found = detector.feature_contributions(X_WINE)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_missing_values_and_constant_columns_contribute_nothing():
    X = np.column_stack([X_WINE, np.ones(len(X_WINE))])
    X[::3, 1] = np.nan
    detector = quick().fit(X)
    contributions = detector.feature_contributions(X)
    assert np.isfinite(contributions).all()
    assert not contributions[::3, 1].any()
    assert contributions[1::3, 1].all()
    assert not contributions[:, -1].any()
    assert np.isfinite(detector.decision_function(X)).all()
    complete = quick().fit(X_WINE)
    assert np.isfinite(complete.score_samples(X[:, :-1])).all()


def test_tables_of_several_kinds():
    rng = np.random.RandomState(0)
    kind = rng.choice(["a", "b"], 200)
    frame = pd.DataFrame({"x": rng.standard_normal(200) + 9 * (kind == "a"), "kind": kind})
    detector = quick().fit(frame)
    wrong = pd.DataFrame({"x": [30.0, 9.0], "kind": ["a", "a"]})
    assert detector.decision_function(wrong)[0] < detector.decision_function(wrong)[1]
    assert detector.feature_contributions(wrong)[0].argmax() == 0
    assert list(detector.feature_names_in_) == ["x", "kind"]


def test_in_a_pipeline_and_a_grid_search():
    X, y = load_breast_cancer(return_X_y=True)
    inliers = X[y == 1]
    pipeline = make_pipeline(StandardScaler(), quick()).fit(inliers[::2])
    test = np.concatenate([inliers[1::2], X[y == 0]])
    truth = np.repeat([1, -1], [len(inliers[1::2]), (y == 0).sum()])
    assert roc_auc_score(truth, pipeline.decision_function(test)) > 0.9
    grid = {"estimator__n_components": [1, 2]}
    search = GridSearchCV(quick(), grid, cv=2, scoring=lambda model, X: model.offset_)
    assert np.isfinite(search.fit(load_iris().data).best_score_)


def test_the_estimator_given_is_not_changed():
    estimator = VAETransformer(2, hidden_layer_sizes=(8,), max_iter=2)
    detector = VAEOutlierDetector(estimator, random_state=0).fit(X_WINE)
    assert not hasattr(estimator, "net_")
    assert estimator.random_state is None
    assert detector.estimator_.random_state is not None


def contaminated(n_outliers=20):
    """Rows around a curve in ten columns, and then a group of rows off it."""
    rng = np.random.RandomState(0)
    angle = rng.uniform(0, 2, (120, 1))
    curve = np.hstack([np.cos(angle), np.sin(angle)]) @ rng.standard_normal((2, 10))
    group = rng.standard_normal(10) * np.ones((n_outliers, 1))
    X = np.vstack([curve, group])
    return X + 0.1 * rng.standard_normal(X.shape), np.arange(len(X)) >= len(curve)


@pytest.mark.parametrize("container", [np.asarray, csr_matrix, pd.DataFrame, list])
def test_rows_outside_the_support_hardly_count(container):
    """As with weights given to the estimator, whatever X is kept in."""
    X, is_outlier = contaminated()
    detector = quick(support_fraction=0.5).fit(container(X))
    assert detector.support_.sum() == len(X) / 2
    assert not detector.support_[is_outlier].any()
    weight = np.where(detector.support_, 1, 0.03)
    by_weight = clone(detector.estimator_).fit(container(X), sample_weight=weight)
    expected = by_weight.score_samples(X)
    np.testing.assert_allclose(detector.score_samples(container(X)), expected, rtol=1e-6)
    share = (detector.decision_function(container(X)) < 0).mean()
    assert abs(share - detector.contamination) < 1 / len(X)


def test_all_rows_are_the_support_unless_asked_otherwise():
    same = quick().fit(X_WINE), quick(support_fraction=1).fit(X_WINE)
    assert all(detector.support_.all() for detector in same)
    scores = [detector.score_samples(X_WINE) for detector in same]
    np.testing.assert_array_equal(*scores)


def test_a_support_keeps_the_model_from_a_group_of_outliers():
    """Without it one of two components goes to the group, whose rows are then as likely as any.

    So it is in the model of maximum likelihood, at which training without held-out rows stays.
    """
    X, is_outlier = contaminated()
    found = []
    for fraction in (None, 0.5):
        params = {"hidden_layer_sizes": (), "early_stopping": False}
        detector = quick(support_fraction=fraction, **params).fit(X)
        score = detector.score_samples(X)
        found.append(np.mean(score[is_outlier] < np.quantile(score[~is_outlier], 0.05)))
    assert found == [0, 1]
