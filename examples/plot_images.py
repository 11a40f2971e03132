"""
======
Images
======

Rows of X that are flattened images get convolutional networks by ``image_shape``. Here they rebuild
and draw scikit-learn's digits of 8 x 8 pixels, beside PCA, the default network and other models of
the family.
"""

# %%

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.objectives import ELBO

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

# %%
# Models of eight components, and the share of the pixels' variance that each rebuilds on held-out
# digits. On images as small as these, convolutions and perceptrons are about level. The β-VAE keeps
# less of an image, since each nat that its components tell costs four.

models = {
    "PCA": PCA(8),
    "perceptron": VAETransformer(8, random_state=0),
    "convolutions": VAETransformer(8, image_shape=(8, 8), random_state=0),
    "β-VAE, β = 4": VAETransformer(8, objective=ELBO(beta=4), random_state=0),
    "InfoVAE": VAETransformer(8, objective="infovae", random_state=0),
    "ρ-VAE": RhoVAETransformer(8, random_state=0),
}
rebuilt = {}
for name, model in models.items():
    model.fit(X_train)
    rebuilt[name] = model.inverse_transform(model.transform(X_test))
    r2 = r2_score(X_test, rebuilt[name], multioutput="variance_weighted")
    print(f"{name:13} R² {r2:.3f}")


def show(rows, title):
    """One row of images per name."""
    n = len(next(iter(rows.values())))
    fig, axes = plt.subplots(len(rows), n, figsize=(9, 0.9 * len(rows) + 0.3), layout="constrained")
    for axes_row, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(axes_row, images, strict=True):
            ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
            ax.set(xticks=[], yticks=[])
        axes_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    fig.suptitle(title)
    plt.show()


# %%
# Ten held-out digits, one of each class, and what each model makes of them.

one_each = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
rows = {"held out": X_test[one_each]}
rows |= {name: images[one_each] for name, images in rebuilt.items()}
show(rows, "Rebuilt from eight numbers")

# %%
# New digits. PCA's components are drawn with the variances that it found, and those of the VAE from
# N(0, I). What is shown is the mean of p(x given z).

rng = np.random.default_rng(0)
pca = models["PCA"]
drawn = {"PCA": rng.standard_normal((10, 8)) * np.sqrt(pca.explained_variance_)}
drawn["PCA"] = pca.inverse_transform(drawn["PCA"])
for name in [*models][1:]:
    drawn[name] = models[name].sample(10, random_state=0, noise=False)
show(drawn, "Drawn from the model")

# %%
# With two components the whole latent space fits on a page. Each image is decoded from a point of a
# grid, at equal steps of the prior's probability.

flat = VAETransformer(2, image_shape=(8, 8), random_state=0).fit(X_train)
steps = norm.ppf(np.linspace(0.03, 0.97, 12))
grid = np.array([[first, second] for second in steps[::-1] for first in steps])
images = flat.inverse_transform(grid).reshape(12, 12, 8, 8)
images = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))  # a margin
canvas = images.transpose(0, 2, 1, 3).reshape(120, 120)

fig, ax = plt.subplots(figsize=(6.5, 6.5), layout="constrained")
ax.imshow(canvas, cmap="gray_r", vmin=0, vmax=16)
places = range(12)
ax.set_xticks([10 * k + 4.5 for k in places], [f"{steps[k]:.1f}" for k in places])
ax.set_yticks([10 * k + 4.5 for k in places], [f"{steps[::-1][k]:.1f}" for k in places])
ax.set(xlabel="first component", ylabel="second component", title="Decoded from a grid")
plt.show()
