"""
===================================
A pipeline that ends in a regressor
===================================

The points (x, y) with target sin(x + y), where x and y are not seen themselves but through ten
noisy columns. The autoencoder finds the two numbers behind the columns and a regressor takes it
from there, in one pipeline, beside the same with PCA.
"""

# %%
# Each of the ten columns is a wave over the plane, with noise.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.datasets import make_sine_sum

points, target = make_sine_sum(1500, noise=0.05, random_state=0)
rng = np.random.default_rng(0)
waves = np.sin(points @ rng.normal(scale=0.4, size=(2, 10)) + rng.uniform(0, 2 * np.pi, size=10))
X = waves + 0.05 * rng.normal(size=waves.shape)

# %%
# Five-fold cross-validation of the whole pipeline.

scores = {}
for reducer in (PCA(2), VAETransformer(2, random_state=0), RhoVAETransformer(2, random_state=0)):
    pipeline = make_pipeline(StandardScaler(), reducer, KNeighborsRegressor(10))
    scores[type(reducer).__name__] = cross_val_score(pipeline, X, target, cv=5)
for name, values in scores.items():
    print(f"{name:18} R² {values.mean():.3f} ± {values.std() / np.sqrt(len(values)):.3f}")

# %%

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.boxplot(list(scores.values()), orientation="horizontal", tick_labels=list(scores))
ax.set(xlabel="R² of the target, five folds", title="Nearest neighbours on two components")
plt.show()
