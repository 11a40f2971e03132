"""What a fit shows while it runs, and what ends it: callbacks, the time limit and Ctrl-C."""

import pickle
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from helpers import STAGES
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback, EarlyStopping, EpochScoring

from sklearn_vae.training import StopTraining

WINE = load_wine(return_X_y=True)


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts():
    """Ctrl-C does what it does in a terminal: shells start background jobs that ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def sphere(n=150):
    """Rows of which a linear model explains little, so that a fit goes through all stages."""
    rng = np.random.RandomState(0)
    x = rng.standard_normal((n, 3))
    return x / np.linalg.norm(x, axis=1)[:, None] + 0.01 * rng.standard_normal(x.shape)


def quick(Estimator, *callbacks, net_params=None, **params):
    params = {"hidden_layer_sizes": (16, 16), "batch_size": 16, "max_iter": 5, **params}
    net_params = {"callbacks": list(callbacks), **(net_params or {})}
    return Estimator(2, random_state=0, net_params=net_params, **params)


class Diary(Callback):
    """Notes the stage of each epoch that ends."""

    def __init__(self):
        self.stages, self.trainings = [], []

    def on_train_begin(self, net, **kwargs):
        self.trainings.append(str(net.progress_))

    def on_epoch_end(self, net, **kwargs):
        self.stages.append(net.progress_)


class At(Callback):
    """Does something at the end of an epoch, counted over all stages."""

    def __init__(self, epoch, do):
        self.epoch, self.do, self.count = epoch, do, 0

    def on_epoch_end(self, net, **kwargs):
        self.count += 1
        if self.count == self.epoch:
            self.do()


def stop():
    raise StopTraining


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


# --- stages and their table -----------------------------------------------------------------------


def test_stages_are_numbered_and_have_the_epochs_that_they_say(Estimator):
    diary = Diary()
    quick(Estimator, diary).fit(sphere())
    titles = list(dict.fromkeys(stage.title for stage in diary.stages))
    assert titles == [title for title in STAGES if title != "smaller steps"]
    for stage in set(diary.stages):
        assert stage.title == STAGES[stage.number - 1]
        assert stage.total == len(STAGES)
        assert diary.stages.count(stage) <= stage.epochs


@pytest.mark.parametrize(
    ("params", "total"),
    [({"early_stopping": False}, 1), ({"hidden_layer_sizes": ()}, 2), ({}, 5)],
    ids=["none held out", "linear", "default"],
)
def test_how_many_stages_there_are_at_most(Estimator, params, total):
    diary = Diary()
    quick(Estimator, diary, **params).fit(sphere())
    assert {stage.total for stage in diary.stages} == {total}


def lines_of(text):
    head, rule, *lines = text.splitlines()
    assert head.split() == ["stage", "epoch", "train_loss", "valid_loss", "dur"]
    assert set(rule) == {"-", " "}
    return lines


def test_verbose_is_one_table_and_changes_nothing(Estimator, capsys):
    silent, diary = quick(Estimator).fit(sphere()), Diary()
    assert not capsys.readouterr().out
    verbose = quick(Estimator, diary, verbose=1).fit(sphere())
    lines = lines_of(capsys.readouterr().out)
    assert [line.split("  ")[0] for line in lines] == list(map(str, diary.stages))
    assert len({len(line.rstrip()) for line in lines}) == 1  # aligned
    np.testing.assert_allclose(verbose.transform(sphere()), silent.transform(sphere()), rtol=1e-5)
    assert verbose.validation_loss_curve_ == pytest.approx(silent.validation_loss_curve_, rel=1e-6)


def test_a_held_noise_is_shown_on_the_scale_of_the_others(Estimator, capsys):
    """A stage's best line is where the next one starts: its noise is learned from there on."""
    starts, best = {}, {}

    class Notes(Callback):
        def on_train_end(self, net, **kwargs):
            is_watched = "keep_best" in dict(net.callbacks_)  # a trial is not
            if net.stage_ == "second start" and is_watched:
                watch, stage = net.keep_best_, net.progress_.number
                starts.setdefault(stage, watch.watched_[1].first)
                if watch.best_epoch_:
                    best[stage] = len(net.history) - watch.epochs_ + watch.best_epoch_

    quick(Estimator, Notes(), verbose=1).fit(sphere())
    cells = [line[36:].split() for line in lines_of(capsys.readouterr().out)]
    shown = {int(epoch): float(loss.rstrip("+")) for epoch, _, loss, _ in cells}
    assert shown[best[2]] == pytest.approx(starts[3], abs=1e-4)


def test_scores_of_callbacks_have_a_column(Estimator, capsys):
    constant = EpochScoring(lambda net, X, y: 2.5, name="constant", use_caching=False)
    log = {"callbacks__print_log__keys_ignored": ["dur"]}
    quick(Estimator, constant, verbose=1, net_params=log).fit(WINE[0])
    head, _, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["stage", "epoch", "constant", "train_loss", "valid_loss"]
    assert "2.5000" in first


# --- what ends a fit ------------------------------------------------------------------------------


def ended(Estimator, epoch, do=stop, X=None, **params):
    """A fit in which something happens at the end of an epoch, and the stages of its epochs."""
    diary = Diary()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = quick(Estimator, At(epoch, do), diary, **params).fit(sphere() if X is None else X)
    return model, diary


@cache
def undisturbed(Estimator):
    """The stages of all epochs of a fit, and the bound of a fit that learns nothing."""
    diary = Diary()
    quick(Estimator, diary).fit(sphere())
    start = quick(Estimator, learning_rate_init=1e-12, max_iter=1).fit(sphere())
    return diary.stages, start.elbo(sphere()).mean()


@pytest.mark.parametrize("epoch", [1, 7, 17, 22, 25])
def test_a_callback_ends_the_whole_fit_in_any_stage(Estimator, epoch):
    stages, bound = undisturbed(Estimator)
    model, diary = ended(Estimator, epoch)
    assert diary.stages == stages[:epoch]
    assert model.n_iter_ <= 5
    assert model.elbo(sphere()).mean() >= bound - 0.01
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transform(sphere()), model.transform(sphere()))
    assert np.isfinite(model.partial_fit(sphere()).elbo(sphere())).all()


@pytest.mark.parametrize(
    "hook", ["on_train_begin", "on_epoch_begin", "on_batch_end", "on_train_end"]
)
def test_it_may_do_so_at_any_time(Estimator, hook):
    stops = type("Stops", (Callback,), {hook: lambda self, net, **kwargs: stop()})
    diary = Diary()
    model = quick(Estimator, diary, stops()).fit(sphere())
    assert len(set(diary.stages)) <= 1
    assert np.isfinite(model.elbo(sphere())).all()


@pytest.mark.parametrize("do", [stop, press_ctrl_c])
@pytest.mark.parametrize("held_out", ["none", "given"])
def test_the_model_is_that_of_the_epochs_so_far(Estimator, do, held_out):
    """As if `max_iter` had been their number, where no refit would follow."""
    fixed = {"early_stopping": False} if held_out == "none" else {}
    X, given = WINE[0][:120], {} if held_out == "none" else {"X_val": WINE[0][120:]}
    keep = {"keep_on_interrupt": True}
    model = quick(Estimator, At(3, do), net_params=keep, max_iter=30, **fixed)
    shorter = quick(Estimator, max_iter=3, **fixed).fit(X, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, **given)
    assert model.loss_curve_ == pytest.approx(shorter.loss_curve_, rel=1e-6)
    np.testing.assert_allclose(model.transform(X), shorter.transform(X), rtol=1e-4, atol=1e-6)
    assert model.best_loss_ == pytest.approx(shorter.best_loss_, rel=1e-6)


def test_skorchs_early_stopping_ends_a_stage(Estimator):
    early, diary = EarlyStopping(patience=2, threshold=1e9, threshold_mode="abs"), Diary()
    model = quick(Estimator, early, diary, max_iter=50).fit(sphere())
    assert model.n_iter_ <= 3
    assert len(diary.trainings) > 1


def test_callbacks_see_the_epoch_that_ends_a_stage(Estimator):
    diary = Diary()
    model = quick(Estimator, diary, max_iter=200, n_iter_no_change=2).fit(WINE[0])
    assert len(diary.stages) == len(model.net_.history)


# --- Ctrl-C ---------------------------------------------------------------------------------------

KEEP = {"keep_on_interrupt": True}


@pytest.mark.parametrize("epoch", [2, 8, 17])
def test_ctrl_c_ends_a_fit_as_a_callback_does_where_one_asks_for_it(Estimator, epoch):
    before = signal.getsignal(signal.SIGINT)
    expected, _ = ended(Estimator, epoch)
    diary = Diary()
    model = quick(Estimator, At(epoch, press_ctrl_c), diary, net_params=KEEP)
    with pytest.warns(ConvergenceWarning, match="ended by Ctrl-C"):
        model.fit(sphere())
    assert len(diary.stages) == epoch
    assert signal.getsignal(signal.SIGINT) is before
    np.testing.assert_allclose(model.transform(sphere()), expected.transform(sphere()), rtol=1e-4)


def test_ctrl_c_that_is_ignored_stays_ignored(Estimator):
    """As in a background job."""
    before, diary = signal.signal(signal.SIGINT, signal.SIG_IGN), Diary()
    try:
        model = quick(Estimator, At(2, press_ctrl_c), diary, net_params=KEEP).fit(sphere())
    finally:
        signal.signal(signal.SIGINT, before)
    assert model.net_.ended_by_ is None
    assert len(diary.stages) > 2


def test_other_steps_of_a_pipeline_go_on(Estimator):
    vae = quick(Estimator, At(2, press_ctrl_c), net_params=KEEP)
    pipeline = make_pipeline(vae, LogisticRegression(max_iter=1000))
    with pytest.warns(ConvergenceWarning, match="ended by Ctrl-C"):
        pipeline.fit(*WINE)
    assert pipeline.score(*WINE) > 0.5


@pytest.mark.parametrize("net_params", [{}, KEEP], ids=["once", "twice"])
@pytest.mark.parametrize("is_fitted", [False, True])
def test_ctrl_c_leaves_the_estimator_as_it_was_otherwise(Estimator, net_params, is_fitted):
    def press():
        press_ctrl_c()
        if net_params:
            press_ctrl_c()

    handler = signal.getsignal(signal.SIGINT)
    model = quick(Estimator)
    if is_fitted:
        model.fit(WINE[0])
    model.set_params(net_params={"callbacks": [At(2, press)], **net_params})
    before = vars(model).copy()
    with pytest.raises(KeyboardInterrupt):
        model.fit(WINE[0])
    assert vars(model) == before
    assert signal.getsignal(signal.SIGINT) is handler


def test_in_other_threads_there_is_no_ctrl_c(Estimator):
    def fit(net_params):
        return quick(Estimator, net_params=net_params).fit(WINE[0]).transform(WINE[0])

    with ThreadPoolExecutor(1) as pool:
        np.testing.assert_array_equal(*pool.map(fit, [KEEP, {}]))
