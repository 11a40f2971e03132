"""
======================
Callbacks and progress
======================

What a fit shows while it runs, how it is watched, and how it is ended early. scikit-learn's
callbacks exist from its version 1.9 on.
"""

# %%
# A fit trains its network in up to four stages. ``verbose=1`` prints one table for all of them. A
# "+" marks the lowest loss so far.

import warnings

import matplotlib.pyplot as plt
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_vae import VAETransformer
from sklearn_vae.training import StopTraining

warnings.simplefilter("ignore", ConvergenceWarning)  # the trainings below are short
X, y = load_digits(return_X_y=True)
VAETransformer(2, max_iter=3, random_state=0, verbose=1).fit(X)

# %%
# A progress bar for each step of a pipeline, and for each stage of the autoencoder.

pipeline = make_pipeline(StandardScaler(), VAETransformer(8, max_iter=30, random_state=0))
pipeline.set_callbacks(ProgressBar()).fit(X)

# %%
# ``ScoringMonitor`` asks for the model as it is after each epoch. Here it notes the bound on the
# log-likelihood of the training rows. Each stage has a colour.

monitor = ScoringMonitor(scoring={"bound": lambda model, X, y: model.elbo(X, n_draws=8).mean()})
VAETransformer(2, max_iter=40, random_state=0).set_callbacks(monitor).fit(X, y)
log = monitor.get_logs().data_as_pandas
epochs = log[log["task_name"] == "epoch"].reset_index(drop=True)
fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for number, (_, stage) in enumerate(epochs.groupby("parent_task_id_path")):
    ax.plot(stage.index + 1, stage["bound"], "o-", markersize=3, label=f"stage {number + 1}")
ax.set(xlabel="epoch", ylabel="bound on log p(x), nats per sample")
ax.legend()
plt.show()

# %%
# A callback of skorch ends the whole fit by raising ``StopTraining``. The model is the best so far.


class GoodEnough(Callback):
    """Ends a fit where the held-out loss is below a threshold."""

    def __init__(self, threshold):
        self.threshold = threshold

    def on_epoch_end(self, net, **kwargs):
        if net.history[-1, "valid_loss"] < self.threshold:
            raise StopTraining


model = VAETransformer(8, random_state=0, net_params={"callbacks": [GoodEnough(145)]}).fit(X)
print(f"{model.n_iter_} epochs, held-out loss {model.best_loss_:.2f} nats per sample")

# %%
# With ``net_params={"keep_on_interrupt": True}`` Ctrl-C ends a fit in the same way. Otherwise it
# interrupts the fit and leaves the estimator as it was.
