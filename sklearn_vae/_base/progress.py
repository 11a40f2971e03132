"""scikit-learn's callbacks: a task for each stage of a fit, and in it one for each epoch.

They exist from scikit-learn 1.9 on. Before that the estimators have no `set_callbacks`.
"""

from contextlib import contextmanager

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:
        """What supports callbacks, where scikit-learn has none."""


MOST_STAGES = 5  # those of `sklearn_vae.selection.multistart`


class Tasks:
    """Tells an estimator's callbacks of its fit; a listener of `sklearn_vae.training.Teller`.

    It is made before the block that puts attributes back where a fit fails. scikit-learn keeps the
    callbacks that it has to tear down in an attribute.

    Parameters
    ----------
    estimator : estimator
        Whose fit begins.
    **data : dict
        `X`, `y` and `metadata`, which callbacks may ask for.
    """

    def __init__(self, estimator, **data):
        self.estimator, self.data = estimator, data
        self.stage = self.of_stage = self.of_epoch = None
        self.root = estimator._init_callback_context(max_subtasks=MOST_STAGES)
        self._begins(self.root)

    @classmethod
    def of(cls, estimator, X, y, sample_weight):
        """Those of an estimator; None where there are no callbacks."""
        if not hasattr(estimator, "_init_callback_context"):
            return None
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        return cls(estimator, X=X, y=y, metadata=metadata)

    def epoch_begins(self, net):
        """Begin an epoch's task, after that of its stage if it is the first one."""
        if net.progress_ is not self.stage:
            self._end_stage()
            self.stage = net.progress_
            self.of_stage = self.root.subcontext(self.stage.title, max_subtasks=self.stage.epochs)
            self._begins(self.of_stage)
        self.of_epoch = self.of_stage.subcontext("epoch")
        self._begins(self.of_epoch)

    def epoch_ends(self, net):
        """End an epoch's task; whether a callback asks for the end of the fit."""
        epoch, self.of_epoch = self.of_epoch, None
        return self._ends(epoch, lambda: self.estimator._attributes_of(net))

    def end(self):
        """End what is still open, and the task of the fit."""
        self._end_stage()
        self._ends(self.root, lambda: vars(self.estimator))

    def _end_stage(self):
        for task in (self.of_epoch, self.of_stage):  # an epoch may have been cut off
            if task is not None:
                self._ends(task)
        self.of_epoch = self.of_stage = None

    def _begins(self, task):
        task.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def _ends(self, task, attributes=None):
        how = {"reconstruction_attributes": attributes}
        return task.call_on_fit_task_end(estimator=self.estimator, **self.data, **how)


@contextmanager
def as_a_task(outer, inner, X, y):
    """Within this context the fit of one estimator is the one task of that of another.

    Parameters
    ----------
    outer, inner : estimator
    X : array-like of shape (n_samples, n_features)
    y : array-like or None
    """
    if not hasattr(outer, "_init_callback_context"):
        yield
        return
    how = {"estimator": outer, "X": X, "y": y}
    root = outer._init_callback_context(max_subtasks=1).call_on_fit_task_begin(**how)
    task = root.subcontext("fit-estimator")
    with task.propagate_callback_context(inner):
        task.call_on_fit_task_begin(**how)
        yield
        task.call_on_fit_task_end(**how)
    root.call_on_fit_task_end(**how)
