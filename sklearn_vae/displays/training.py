"""How training went."""

import numpy as np

from .tools import axes_for, before_model, parts_of


class LossCurveDisplay:
    """Training and held-out loss over the epochs.

    It is made by :meth:`from_estimator`. A loss is minus the objective, in nats per sample and in
    X's units; smaller is better.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss of each epoch.
    validation_loss_curve : array-like of shape (n_epochs,), default=None
        Held-out loss of each epoch.
    validation_reconstruction_curve, validation_kl_curve : array-like, default=None
        Its parts in each epoch, of shape (n_epochs,): minus E[log p(x | z)], and the KL.

    best_epoch : int, default=None
        After how many epochs the weights were best; 0 for the start.
    best_loss : float, default=None
        The loss there.

    parts : dict of float, default=None
        Of the fitted model and some rows: "reconstruction", minus E[log p(x | z)], and "kl". Their
        sum is minus the evidence lower bound.

    Attributes
    ----------
    line_, validation_line_, reconstruction_line_ : matplotlib Line2D
        The curves; None where there is nothing to draw.
    kl_band_, parts_ : matplotlib FillBetweenPolyCollection and Rectangle
        The KL above the reconstruction, in each epoch and after the fit, or None. The upper edge is
        minus the evidence lower bound, which is the loss if the objective is the default.
    best_ : matplotlib PathCollection
        The mark where the weights were best, or None.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import LossCurveDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> display = LossCurveDisplay.from_estimator(VAETransformer(random_state=0).fit(X))
    """

    def __init__(
        self,
        loss_curve,
        *,
        validation_loss_curve=None,
        validation_reconstruction_curve=None,
        validation_kl_curve=None,
        best_epoch=None,
        best_loss=None,
        parts=None,
    ):
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.validation_reconstruction_curve = validation_reconstruction_curve
        self.validation_kl_curve = validation_kl_curve
        self.best_epoch = best_epoch
        self.best_loss = best_loss
        self.parts = parts

    @classmethod
    def from_estimator(cls, estimator, X=None, *, ax=None, **kwargs):
        """Draw the losses of a fitted model.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted model, or a pipeline that ends with one.
        X : array-like of shape (n_samples, n_features), default=None
            Rows for which the parts of the loss after the fit are drawn: the reconstruction and the
            KL. Those of the held-out rows in each epoch are drawn in any case.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        **kwargs : dict
            Of both curves, for ``Axes.plot``.

        Returns
        -------
        LossCurveDisplay
        """
        before, model = parts_of(estimator, cls, "loss_curve_", "validation_kl_curve_")
        validation, parts = model.validation_loss_curve_, None
        best = None
        if validation and np.isfinite(validation[-1]):
            away = np.abs(np.subtract(validation, model.best_loss_))
            is_start = np.nanmin(away) > 1e-6 * abs(model.best_loss_)
            best = 0 if is_start else int(np.nanargmin(away)) + 1
        if X is not None:
            terms = model.elbo(before_model(before, X), split=True)
            parts = {"reconstruction": -terms.reconstruction.mean(), "kl": terms.kl.mean()}
        display = cls(
            model.loss_curve_,
            validation_loss_curve=validation,
            validation_reconstruction_curve=model.validation_reconstruction_curve_,
            validation_kl_curve=model.validation_kl_curve_,
            best_epoch=best,
            best_loss=model.best_loss_,
            parts=parts,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        **kwargs : dict
            Of both curves, for ``Axes.plot``.

        Returns
        -------
        self : LossCurveDisplay
        """
        ax = axes_for(ax, type(self))
        self.validation_line_ = self.best_ = self.parts_ = None
        self.reconstruction_line_ = self.kl_band_ = None
        epochs = np.arange(1, len(self.loss_curve) + 1)
        (self.line_,) = ax.plot(epochs, self.loss_curve, **{"label": "training rows"} | kwargs)
        if self.validation_loss_curve is not None:
            how = {"label": "held-out rows"} | kwargs
            (self.validation_line_,) = ax.plot(epochs, self.validation_loss_curve, **how)
        if self.validation_kl_curve is not None:
            low, kl = np.array([self.validation_reconstruction_curve, self.validation_kl_curve])
            how = {"color": "tab:green", "linestyle": ":", "label": "held-out rows, reconstruction"}
            (self.reconstruction_line_,) = ax.plot(epochs, low, **how)
            label = f"held-out rows, KL ({kl[np.isfinite(kl)][-1]:.1f} in their last epoch)"
            how = {"color": "tab:green", "alpha": 0.15, "linewidth": 0, "label": label}
            self.kl_band_ = ax.fill_between(epochs, low, low + kl, **how)
        if self.best_epoch is not None:
            label = f"best: epoch {self.best_epoch}" if self.best_epoch else "best: at the start"
            how = {"color": "black", "marker": "*", "s": 90, "zorder": 3, "label": label}
            self.best_ = ax.scatter([self.best_epoch], [self.best_loss], **how)
        if self.parts is not None:
            low, kl = self.parts["reconstruction"], self.parts["kl"]
            how = {"color": "tab:purple", "alpha": 0.2, "linewidth": 0}
            label = f"loss of X after the fit: {low:.1f} (reconstruction) + {kl:.1f} (KL)"
            self.parts_ = ax.axhspan(low, low + kl, label=label, **how)
        ax.set(xlabel="Epoch", ylabel="Loss (nats per sample)", title="Loss during training")
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.7 * (high - low))  # room for the legend above the curves
        ax.legend(loc="upper right", fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self
