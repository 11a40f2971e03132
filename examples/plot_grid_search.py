"""
===========================
A search through a pipeline
===========================

How many components does a classifier need? ``GridSearchCV`` over the whole pipeline answers by the
classifier's accuracy, with an error bar for each answer.
"""

# %%
# Each candidate is fitted in four folds, the scaling and the autoencoder included. The same search
# with PCA stands beside it.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer

X, y = load_breast_cancer(return_X_y=True)
X, y = X[:300], y[:300]
n_components = [1, 2, 3, 4, 6, 8]
folds = StratifiedKFold(4, shuffle=True, random_state=0)

searches = {}
for name, reducer in {"PCA": PCA(), "VAE": VAETransformer(random_state=0)}.items():
    steps = [
        ("scale", StandardScaler()),
        ("reduce", reducer),
        ("classify", LogisticRegression(max_iter=1000)),
    ]
    grid = {"reduce__n_components": n_components}
    searches[name] = GridSearchCV(Pipeline(steps), grid, cv=folds).fit(X, y)

# %%
# Several candidates are within one standard error of the best. The smallest of them is the one to
# take.

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for shift, (name, search) in zip((-0.05, 0.05), searches.items(), strict=True):
    mean = search.cv_results_["mean_test_score"]
    error = search.cv_results_["std_test_score"] / np.sqrt(folds.get_n_splits())
    ax.errorbar(np.array(n_components) + shift, mean, error, marker="o", capsize=3, label=name)
    enough = n_components[np.flatnonzero(mean >= mean.max() - error[mean.argmax()])[0]]
    print(f"{name}: best {search.best_params_['reduce__n_components']} components, {enough} do")
ax.set(xlabel="components", ylabel="accuracy ± standard error", xticks=n_components)
ax.legend()
plt.show()
