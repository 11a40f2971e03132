"""The docstrings of the two estimators say what is there."""

import ast
import inspect

from numpydoc.docscrape import ClassDoc
from sklearn.datasets import load_iris


def names(section):
    return [name for entry in section for name in entry.name.split(", ")]


def test_every_parameter_is_documented_with_its_default(Estimator):
    documented = ClassDoc(Estimator)["Parameters"]
    signature = inspect.signature(Estimator).parameters
    assert names(documented) == list(signature)
    for entry in documented:
        said = ast.literal_eval(entry.type.partition("default=")[2])
        assert all(signature[name].default == said for name in entry.name.split(", "))


def test_every_attribute_is_documented(Estimator):
    X = load_iris(as_frame=True).data
    gaussian = Estimator(max_iter=2, random_state=0).fit(X)
    counts = Estimator(max_iter=2, random_state=0, likelihood="negative_binomial").fit(X.round())
    documented = names(ClassDoc(Estimator)["Attributes"])
    for estimator in (gaussian, counts):
        assert {
            name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")
        } <= set(documented)
    for name in documented:
        assert hasattr(gaussian, name) or hasattr(counts, name)
