"""
====================
Digits in a pipeline
====================

scikit-learn's 8 x 8 digits, reduced to eight components in a pipeline that ends in a classifier;
beside PCA.
"""

# %%

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import RhoVAETransformer, VAETransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

# %%
# The same pipeline with each reducer: accuracy of the classifier, and held-out log-likelihood of
# the reducer in nats.

pipelines = {}
for name, reducer in {
    "PCA": PCA(8),
    "VAE": VAETransformer(8, random_state=0),
    "ρ-VAE": RhoVAETransformer(8, random_state=0),
}.items():
    steps = [
        ("scale", StandardScaler()),
        ("reduce", reducer),
        ("classify", LogisticRegression(max_iter=2000)),
    ]
    pipelines[name] = Pipeline(steps).fit(X_train, y_train)
    accuracy = pipelines[name].score(X_test, y_test)
    log_likelihood = pipelines[name][:-1].score(X_test)
    print(f"{name:6} accuracy {accuracy:.3f}, log-likelihood {log_likelihood:8.2f}")

# %%
# Ten held-out digits, and what each reducer makes of them after eight numbers.

rows = {"held out": X_test[:10]}
for name, pipeline in pipelines.items():
    reduce = pipeline[:-1]
    rows[name] = reduce.inverse_transform(reduce.transform(X_test[:10]))

fig, axes = plt.subplots(len(rows), 10, figsize=(9, 4), layout="constrained")
for axes_row, (name, images) in zip(axes, rows.items(), strict=True):
    for ax, image in zip(axes_row, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    axes_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()

# %%
# New digits: draws of z from the prior, and the mean that the decoder gives them.

scale, vae = pipelines["VAE"]["scale"], pipelines["VAE"]["reduce"]
drawn = scale.inverse_transform(vae.sample(20, random_state=0, noise=False))
fig, axes = plt.subplots(2, 10, figsize=(9, 2.1), layout="constrained")
for ax, image in zip(axes.flat, drawn, strict=True):
    ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
    ax.set(xticks=[], yticks=[])
fig.suptitle("samples of the VAE")
plt.show()
