"""
===================
How many components
===================

With PCA one looks at a scree plot. The same plot of a variational autoencoder is free once a model
with enough components is fitted. The held-out log-likelihood of models of several sizes is the more
reliable answer, and costs a fit each.
"""

# %%
# A surface of two dimensions in five: three of the columns are curved functions of the two others,
# with a little noise.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ShuffleSplit, cross_val_score

from sklearn_vae import VAETransformer
from sklearn_vae.displays import ExplainedVarianceDisplay

rng = np.random.default_rng(0)
u, v = rng.uniform(-1, 1, size=(2, 600))
columns = u, v, np.sin(2 * u + v), u * v, v**2
X = np.column_stack(columns) + 0.05 * rng.standard_normal((600, 5))

# %%
# Fit more components than are thought to be needed. The bars are the shares of each component, the
# lines their sums, and PCA's stand beside them. Four components of PCA leave some of the variance
# out. The autoencoder explains nearly all of it with two components, and by the others nothing.

vae = VAETransformer(n_components=4, random_state=0).fit(X)
ExplainedVarianceDisplay.from_estimator(vae, X)
plt.show()

# %%
# The held-out log-likelihood says the same. ``score`` is in nats per sample, as PCA's is. Error
# bars are standard errors over three splits. To compare sizes, 80 epochs are enough; the warning
# that more would help is left out.

sizes = [1, 2, 3, 4]
cv = ShuffleSplit(3, test_size=0.25, random_state=0)
models = {"VAETransformer": VAETransformer(max_iter=80, random_state=0), "PCA": PCA()}
warnings.simplefilter("ignore", ConvergenceWarning)
fig, ax = plt.subplots(layout="constrained")
for name, model in models.items():
    scores = [cross_val_score(model.set_params(n_components=d), X, cv=cv) for d in sizes]
    means, errors = np.mean(scores, axis=1), np.std(scores, axis=1) / np.sqrt(2)
    ax.errorbar(sizes, means, errors, marker="o", capsize=3, label=name)
    print(name, np.round(means, 2))
ax.set(xlabel="n_components", ylabel="Held-out log-likelihood (nats per sample)", xticks=sizes)
ax.legend()
plt.show()
