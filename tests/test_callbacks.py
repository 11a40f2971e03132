"""scikit-learn's callbacks: what begins ends, and what is set up is torn down."""

import json

import numpy as np
import pytest
from helpers import STAGES
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEImputer, VAEOutlierDetector, VAETransformer
from sklearn_vae.selection import Trainer, multistart
from sklearn_vae.training import StopTraining

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9 has none")

X, Y = load_iris(return_X_y=True)


class Record:
    """Notes what it is told; `stop_at` is the epoch at whose end it asks for the end of the fit."""

    def __init__(self, stop_at=None, raises=None):
        self.stop_at, self.raises, self.events, self.rebuilt = stop_at, raises, [], []

    def setup(self, estimator, context):
        self.events.append(("setup", "", ()))

    def teardown(self, estimator, context):
        self.events.append(("teardown", "", ()))

    def on_fit_task_begin(self, estimator, context):
        self.note("begin", context)

    def on_fit_task_end(self, estimator, context):
        self.note("end", context)
        if self.names("end", "epoch") == self.stop_at and context.task_name == "epoch":
            if self.raises:
                raise self.raises
            return True

    def note(self, event, context):
        name, path = context.task_name, []
        while context is not None:
            path.append(context.task_id)
            context = context.parent
        self.events.append((event, name, tuple(path[::-1])))

    def stages(self):
        return [name for event, name, path in self.events if event == "begin" and len(path) == 2]

    def names(self, event, name):
        return sum(one[:2] == (event, name) for one in self.events)


class Watching(Record):
    """Asks for the model as it is at the end of each task, and rebuilds X by it."""

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        if fitted_estimator is not None:
            self.rebuilt.append((context.task_name, rebuilt(fitted_estimator)))


def rebuilt(model):
    return model.inverse_transform(model.transform(X))


class ToFile:
    """Passed on to the estimators inside others, also in other processes: appends to a file."""

    max_propagation_depth = None

    def __init__(self, path):
        self.path = str(path)

    def setup(self, estimator, context):
        pass

    teardown = setup

    def on_fit_task_begin(self, estimator, context):
        self.write("begin", context)

    def on_fit_task_end(self, estimator, context):
        self.write("end", context)

    def write(self, event, context):
        line = json.dumps([event, context.estimator_name, context.task_name])
        with open(self.path, "a") as file:
            file.write(line + "\n")


def quick(Estimator=VAETransformer, **params):
    return Estimator(2, random_state=0, hidden_layer_sizes=(8,), **{"max_iter": 4, **params})


def check_nested(events):
    """Tasks are set up, begin and end inside one another, and are torn down."""
    (first, *_), *tasks, (last, *_) = events
    assert (first, last) == ("setup", "teardown")
    open_tasks = []
    for event, _, path in tasks:
        if event == "begin":
            assert path[:-1] == (open_tasks[-1] if open_tasks else ())
            open_tasks.append(path)
        else:
            assert open_tasks.pop() == path
    assert not open_tasks


def test_a_task_for_each_stage_and_epoch(Estimator):
    record = Record()
    model = quick(Estimator).set_callbacks(record).fit(X)
    check_nested(record.events)
    assert record.names("end", "epoch") == len(model.net_.history)
    stages = record.stages()
    assert stages[0] == "first start"
    assert stages[-1] == "refit"
    silent = quick(Estimator).fit(X)
    np.testing.assert_array_equal(model.transform(X), silent.transform(X))


def test_a_fit_may_have_all_of_its_stages(Estimator, monkeypatch):
    """As where a second start is tried and loses, and only the smaller steps help."""
    monkeypatch.setattr(Trainer, "_is_promising", lambda self, first: self._train(1) is None)
    monkeypatch.setattr(multistart, "_takes_over", lambda *args: False)
    monkeypatch.setattr(multistart, "WELL_EXPLAINED", 1.0)
    monkeypatch.setattr(multistart, "DECAY", 2e-3)
    record = Record()
    model = quick(Estimator, learning_rate_init=5.0, n_iter_no_change=2, max_iter=30)
    model.set_callbacks(record).fit(X)
    check_nested(record.events)
    assert record.stages() == STAGES


@pytest.mark.parametrize("raises", [None, StopTraining])
def test_a_callback_ends_the_fit(Estimator, raises):
    record = Record(stop_at=2, raises=raises)
    model = quick(Estimator, max_iter=50).set_callbacks(record).fit(X)
    if raises is None:
        check_nested(record.events)
    assert record.names("end", "epoch") == 2
    assert record.names("begin", "refit") == 0
    assert np.isfinite(model.score(X))


@pytest.mark.parametrize("raises", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("is_fitted", [False, True])
def test_callbacks_are_torn_down_when_a_fit_fails(Estimator, raises, is_fitted):
    record = Record(stop_at=2, raises=raises)
    model = quick(Estimator)
    if is_fitted:
        model.fit(X)
    before = vars(model.set_callbacks(record)).copy()
    with pytest.raises(raises):
        model.fit(X)
    assert [event for event, *_ in record.events if event.endswith(("setup", "teardown"))] == [
        "setup",
        "teardown",
    ]
    assert vars(model) == before
    record.raises = None
    assert np.isfinite(model.fit(X).score(X))


def test_the_model_of_each_epoch(Estimator):
    """A fit without held-out rows keeps that of its best epoch."""
    watching = Watching()
    model = quick(Estimator, early_stopping=False, init="random").set_callbacks(watching).fit(X)
    assert [name for name, _ in watching.rebuilt] == ["epoch"] * 4 + ["fit"]
    *epochs, last = [values for _, values in watching.rebuilt]
    np.testing.assert_array_equal(last, rebuilt(model))
    away = [np.abs(values - last).max() for values in epochs]
    assert min(away) < 1e-4 < sorted(away)[1]


def test_clones_have_the_same_callbacks(Estimator):
    record = Record()
    clone(quick(Estimator).set_callbacks(record)).fit(X)
    check_nested(record.events)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_through_a_grid_search_of_pipelines(n_jobs, tmp_path):
    pipeline = make_pipeline(StandardScaler(), quick())
    grid = {"vaetransformer__n_components": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs)
    search.set_callbacks(ToFile(tmp_path / "log")).fit(X)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    ours = [(event, task) for event, name, task in lines if name == "VAETransformer"]
    assert ours.count(("begin", "fit")) == ours.count(("end", "fit")) == 2 * 2 + 1
    assert ours.count(("begin", "first start")) == 2 * 2 + 1
    assert ours.count(("begin", "epoch")) == ours.count(("end", "epoch")) >= 4 * 5


@pytest.mark.parametrize("Outer", [VAEImputer, VAEOutlierDetector])
def test_through_the_estimators_around_others(Outer, tmp_path):
    Outer(quick(), random_state=0).set_callbacks(ToFile(tmp_path / "log")).fit(X)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    ends = [(name, task) for event, name, task in lines if event == "end"]
    assert ends[-1] == (Outer.__name__, "fit")
    assert ends.count(("VAETransformer", "fit")) == 1
    assert ("VAETransformer", "epoch") in ends


def test_progress_bars(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    search = GridSearchCV(quick(), {"n_components": [1, 2]}, cv=2, n_jobs=2)
    search.set_callbacks(callback.ProgressBar()).fit(X)
    shown = capsys.readouterr().out
    assert shown.count("VAETransformer - first start #0") == 2 * 2 + 1
    assert shown.count("100%") == len(shown.strip().splitlines())
