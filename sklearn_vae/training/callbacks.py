"""What watches a training: the best weights, when to stop, and the weight of the KL on the way."""

import math

from skorch.callbacks import Callback


class StopTraining(Exception):
    """Raised by a callback to end training where it is, keeping what was learned."""


class KeepBest(Callback):
    """Watch the validation loss: stop when it no longer falls, and go back to the best weights.

    The weights before the first epoch compete as well. Without validation data the rows trained on
    are watched, up to 10,000 of them, by the same loss over noise that is the same each time.
    Epochs in which the KL does not yet have its full weight do not count as misses.

    Parameters
    ----------
    patience : int or float
        Epochs without an improvement of more than `tol` before training stops.
    tol : float
        Nats per sample.

    Attributes
    ----------
    best_ : float
        The least validation loss, or loss of the rows trained on if none were held out.
    misses_ : int
        Epochs since the last improvement.
    epochs_, best_epoch_ : int
        How many epochs this training took, and after how many of them the validation loss was
        least.
    stopped_ : bool
        Whether this callback ended the training.
    """

    best_, misses_, epochs_, best_epoch_, stopped_, weights_ = math.inf, 0, 0, 0, False, None

    def __init__(self, patience=math.inf, tol=0.0):
        self.patience = patience
        self.tol = tol

    def on_train_begin(self, net, **kwargs):
        self.best_ = self.mark_ = math.inf
        self.misses_, self.weights_ = 0, None
        self.epochs_ = self.best_epoch_ = 0
        self.stopped_ = False

    def on_epoch_begin(self, net, dataset_valid=None, **kwargs):
        if self.weights_ is None:
            self._offer(net, self._loss(net, dataset_valid or net.watched_rows_))

    def on_epoch_end(self, net, dataset_valid=None, **kwargs):
        self.epochs_ += 1
        loss = (
            net.history[-1, "valid_loss"] if dataset_valid else self._loss(net, net.watched_rows_)
        )
        self._offer(net, loss)
        if self.best_ < self.mark_ - self.tol or net.epoch_ <= net.criterion_.kl_warmup:
            self.mark_, self.misses_ = self.best_, 0
        else:
            self.misses_ += 1
        if self.misses_ >= self.patience:
            self.stopped_ = True
            raise StopTraining

    def on_train_end(self, net, **kwargs):
        if self.weights_ is not None:
            net.load_weights(self.weights_)
        self.weights_ = None

    def _offer(self, net, loss):
        if loss < self.best_ or self.weights_ is None:
            self.best_, self.best_epoch_ = loss, self.epochs_
            self.weights_ = net.weights()

    @staticmethod
    def _loss(net, rows):
        return net.mean_loss(net.get_iterator(rows), net.validation_step, training=False)


class KLWarmUp(Callback):
    """Let the objective's `warmup` grow from 0 to 1, linearly over its first epochs."""

    def on_epoch_begin(self, net, **kwargs):
        objective = net.criterion_
        epochs = objective.kl_warmup
        objective.warmup = min(1.0, (net.epoch_ - 1) / epochs) if epochs else 1.0
