"""It is scikit-learn: every check that it has, in every setting, and its tools around it."""

import copy
import io
import pickle
from itertools import cycle

import joblib
import numpy as np
import pytest
from helpers import ESTIMATOR_OF
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.objectives import ELBO, InfoVAE

ESTIMATORS = [VAETransformer, RhoVAETransformer]
# Each value of each parameter is in one of them: every check fits some ten times.
SETTINGS = [
    {"hidden_layer_sizes": (50, 30), "likelihood": Gaussian("per_feature")},
    {"hidden_layer_sizes": (), "likelihood": Gaussian(0.5), "early_stopping": False},
    {"init": "random", "objective": ELBO(n_draws=3, beta=0.5)},
    {"standardize": False, "likelihood": "heteroscedastic_gaussian"},
    {"early_stopping": True, "likelihood": Gaussian(noise_growth=0.5), "objective": "iwae"},
    {"objective": InfoVAE(kl_warmup=2, free_bits=0.1)},
]


def every_setting():
    """Defaults, and every other setting with fewer epochs and a type of covariance in turn."""
    for Estimator in ESTIMATORS:
        yield Estimator()
        own = [name for name, owner in ESTIMATOR_OF.items() if owner is Estimator]
        for covariance_type, setting in zip(cycle(own), SETTINGS, strict=False):
            yield Estimator(3, max_iter=5, covariance_type=covariance_type, **setting)


@parametrize_with_checks(list(every_setting()))
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", list(every_setting()), ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_set_output_transform_polars",
        "check_global_output_transform_pandas",
        "check_global_set_output_transform_polars",
        "check_dataframe_column_names_consistency",
        "check_param_validation",
        "check_inplace_ensure_writeable",
    ],
)
def test_checks_that_scikit_learn_keeps_for_itself(estimator, name):
    check = getattr(estimator_checks, name)
    estimator = clone(estimator).set_params(max_iter=3, random_state=0)
    check(type(estimator).__name__, estimator)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def iris_names():
    bunch = load_iris()
    return bunch.data, bunch.target_names[bunch.target]


def make_pipeline(Estimator, **params):
    steps = [
        ("scale", StandardScaler()),
        ("vae", Estimator(n_components=8, max_iter=20, random_state=0, **params)),
    ]
    return Pipeline([*steps, ("clf", LogisticRegression(max_iter=1000))])


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("labels", ["iris", "iris_names"])
def test_pipeline_fits_predicts_and_is_cloned(Estimator, labels, request):
    X, y = request.getfixturevalue(labels)
    pipeline = make_pipeline(Estimator)
    assert pipeline.fit(X, y).score(X, y) > 0.9
    assert set(pipeline.predict(X)) <= set(y)
    again = clone(pipeline).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))


@pytest.mark.parametrize("carry", [through_pickle, through_joblib, copy.deepcopy])
def test_fitted_pipeline_is_carried(Estimator, iris, carry):
    X, y = iris
    pipeline = make_pipeline(Estimator).fit(X, y)
    carried = carry(pipeline)
    np.testing.assert_array_equal(carried.predict_proba(X), pipeline.predict_proba(X))
    np.testing.assert_array_equal(carried[:-1].transform(X), pipeline[:-1].transform(X))


@pytest.mark.parametrize("labels", ["iris", "iris_names"])
def test_grid_search_over_the_pipeline(Estimator, labels, request):
    X, y = request.getfixturevalue(labels)
    grid = {"vae__n_components": [1, 3], "vae__objective__beta": [0.5, 1.0]}
    search = GridSearchCV(make_pipeline(Estimator), grid, cv=2, n_jobs=2).fit(X, y)
    assert search.best_score_ > 0.8
    one_process = GridSearchCV(make_pipeline(Estimator), grid, cv=2, n_jobs=1).fit(X, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], one_process.cv_results_["mean_test_score"]
    )


def test_grid_search_on_its_own_score(Estimator, iris):
    X, _ = iris
    estimator = Estimator(max_iter=20, random_state=0)
    search = GridSearchCV(estimator, {"n_components": [1, 2]}, cv=2, n_jobs=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.score(X) == pytest.approx(search.score(X))
