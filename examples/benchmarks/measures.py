"""What the benchmarks on real tables share: splits, and what a fitted model is worth."""

import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import load_collection, load_tables

CLASSIFIERS = {
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "5-nn": lambda: make_pipeline(StandardScaler(), KNeighborsClassifier(5)),
}


def load_thinned(names, max_rows):
    """Tables by name, all of them for None, pydataset's for that name; at most so many rows."""
    tables = load_collection() if names == ["pydataset"] else load_tables(names)
    for name, (X, y) in tables.items():
        if len(X) > max_rows:
            rows = np.random.RandomState(0).permutation(len(X))[:max_rows]
            tables[name] = X[rows], None if y is None else y[rows]
    return tables


def split_of(X, y, seed):
    """Rows to train and to test on, standardised by the first, and their classes or None."""
    rows = train_test_split(np.arange(len(X)), random_state=seed)
    X = X[:, np.ptp(X[rows[0]], axis=0) > 0]  # constant columns have no density
    scaler = StandardScaler().fit(X[rows[0]])
    classes = (None, None) if y is None else tuple(y[part] for part in rows)
    return *(scaler.transform(X[part]) for part in rows), *classes


def accuracies(model, train, test, y_train, y_test):
    """Of each classifier on the components; NaN where there are no classes."""
    if y_train is None:
        return dict.fromkeys(CLASSIFIERS, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Z, Z_test = model.transform(train), model.transform(test)
        return {
            name: make().fit(Z, y_train).score(Z_test, y_test) for name, make in CLASSIFIERS.items()
        }


def r2(X, rebuilt):
    """Explained share of the total variance of standardised features."""
    return r2_score(X, rebuilt, multioutput="variance_weighted")


def standard_error(values):
    """Of the mean over splits; NaN for a single one."""
    return np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
