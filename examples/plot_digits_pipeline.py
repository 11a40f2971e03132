"""
=================================
Digits beside PCA, t-SNE and UMAP
=================================

scikit-learn's 8 x 8 digits, reduced to eight components in a pipeline that ends in a classifier,
and to two components for a picture.
"""

# %%

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from umap import UMAP

from sklearn_vae import RhoVAETransformer, VAETransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

# %%
# Eight components
# ----------------
#
# Each reducer in the same pipeline: the accuracy of the classifier, and the reducer's
# reconstruction and log-likelihood of held-out digits. Pixels share a unit, so nothing is
# standardised before. A warning says of how many digits the log-likelihood is uncertain.

reducers = {
    "PCA": PCA(8),
    "VAE": VAETransformer(8, random_state=0),
    "ρ-VAE": RhoVAETransformer(8, random_state=0),
}
rebuilt = {"held out": X_test[:10]}
for name, reducer in reducers.items():
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    pipeline = make_pipeline(reducer, classifier).fit(X_train, y_train)
    accuracy = pipeline.score(X_test, y_test)
    X_rebuilt = reducer.inverse_transform(reducer.transform(X_test))
    r2 = r2_score(X_test, X_rebuilt, multioutput="variance_weighted")
    log_likelihood = reducer.score(X_test)
    print(f"{name:6} accuracy {accuracy:.3f}, R² {r2:.3f}, log-likelihood {log_likelihood:7.1f}")
    rebuilt[name] = X_rebuilt[:10]

# %%
# Ten held-out digits, and what each reducer makes of them after eight numbers.

fig, axes = plt.subplots(len(rebuilt), 10, figsize=(9, 4), layout="constrained")
for axes_row, (name, images) in zip(axes, rebuilt.items(), strict=True):
    for ax, image in zip(axes_row, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    axes_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()

# %%
# New digits: draws of z from the prior, and the mean that the decoder gives them.

drawn = reducers["VAE"].sample(20, random_state=0, noise=False)
fig, axes = plt.subplots(2, 10, figsize=(9, 2.1), layout="constrained")
for ax, image in zip(axes.flat, drawn, strict=True):
    ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
    ax.set(xticks=[], yticks=[])
fig.suptitle("samples of the VAE")
plt.show()

# %%
# Two components
# --------------
#
# For a picture. t-SNE and UMAP separate the classes more clearly: they keep neighbours together and
# give up distances. The axes of PCA and the VAE have a meaning, new rows can be placed on them, and
# a point can be decoded. UMAP comes from ``umap-learn``.

maps = {
    "PCA": PCA(2).fit_transform(X),
    "VAE": VAETransformer(2, random_state=0).fit_transform(X),
    "t-SNE": TSNE(random_state=0).fit_transform(X),
    "UMAP": UMAP(random_state=0, n_jobs=1).fit_transform(X),
}
fig, axes = plt.subplots(1, len(maps), figsize=(3 * len(maps), 3.2), layout="constrained")
for ax, (name, Z) in zip(axes, maps.items(), strict=True):
    shown = ax.scatter(*Z.T, c=y, cmap="tab10", s=3)
    ax.set(title=name, xticks=[], yticks=[])
fig.colorbar(shown, ax=axes, ticks=range(10), label="digit")
plt.show()
