"""
===========================================
How many components, and how much KL weight
===========================================

``GridSearchCV`` over ``n_components`` and the ``beta`` of the objective. Without a ``scoring`` it
maximises the estimator's own score, the held-out log-likelihood in nats.
"""

# %%

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV

from sklearn_vae import VAETransformer
from sklearn_vae.objectives import ELBO

X, _ = load_wine(return_X_y=True)
X = np.random.default_rng(0).permutation(X)
grid = {"n_components": [1, 2, 4, 6], "objective__beta": [0.5, 1.0, 2.0, 4.0]}
vae = VAETransformer(objective=ELBO(), random_state=0)
search = GridSearchCV(vae, grid, cv=4, n_jobs=2).fit(X)
print(f"best: {search.best_params_}, {search.best_score_:.2f} nats per sample")

# %%
# ``score`` is a bound on log p(x) whatever ``beta`` was in training, so the cells can be compared.

results = search.cv_results_
shape = len(grid["n_components"]), len(grid["objective__beta"])
table = np.array(results["mean_test_score"]).reshape(shape).T
fig, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
shown = ax.imshow(table, cmap="viridis")
ax.set_xticks(range(4), grid["n_components"])
ax.set_yticks(range(4), grid["objective__beta"])
ax.set(xlabel="n_components", ylabel="beta", title="held-out log-likelihood, nats per sample")
middle = (table.max() + table.min()) / 2
for (row, column), value in np.ndenumerate(table):
    ax.text(
        column,
        row,
        f"{value:.2f}",
        ha="center",
        va="center",
        color="black" if value > middle else "white",
    )
fig.colorbar(shown, ax=ax)
plt.show()
