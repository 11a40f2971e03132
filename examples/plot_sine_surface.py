"""
==========================================
A curved surface reduced to two components
==========================================

The points (x, y, sin(x + y)) lie on a surface of two dimensions in three. No plane comes close to
it, so PCA with two components has to flatten it. A variational autoencoder with two components
bends to it, and what it samples lies on it.
"""

# %%
# Two thousand points, with a little noise on the third column.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score

from sklearn_vae import VAETransformer
from sklearn_vae.datasets import make_sine_sum

X = make_sine_sum(2000, noise=0.05, random_state=0, surface=True)

# %%
# Reduce to two components and rebuild, with PCA and with the autoencoder on its defaults.

pca = PCA(n_components=2).fit(X)
vae = VAETransformer(n_components=2, random_state=0).fit(X)

by_pca = pca.inverse_transform(pca.transform(X))
by_vae = vae.inverse_transform(vae.transform(X))
samples = vae.sample(2000, random_state=0)

r2_pca = r2_score(X, by_pca, multioutput="variance_weighted")
r2_vae = r2_score(X, by_vae, multioutput="variance_weighted")
print(f"reconstruction R²: PCA {r2_pca:.3f}, VAE {r2_vae:.3f}")
print(f"log-likelihood in nats: PCA {pca.score(X):.2f}, VAE {vae.score(X):.2f}")

# %%
# The colour is sin(x + y) as the data have it, or as each point's own x and y say it should be.

panels = {
    "the data": (X, X[:, 2]),
    f"rebuilt by PCA, R² {r2_pca:.2f}": (by_pca, X[:, 2]),
    f"rebuilt by the VAE, R² {r2_vae:.2f}": (by_vae, X[:, 2]),
    "samples of the VAE": (samples, np.sin(samples[:, 0] + samples[:, 1])),
}
fig = plt.figure(figsize=(10, 8.5), layout="constrained")
for position, (title, (points, colour)) in enumerate(panels.items(), start=1):
    ax = fig.add_subplot(2, 2, position, projection="3d")
    ax.scatter(*points.T, c=colour, cmap="viridis", s=4, vmin=-1, vmax=1)
    ax.set(
        xlim=(-4, 4),
        ylim=(-4, 4),
        zlim=(-1.5, 1.5),
        xlabel="x",
        ylabel="y",
        zlabel="z",
        title=title,
    )
    ax.view_init(elev=28, azim=-60)
plt.show()

# %%
# The two components as a map of the surface: neighbours on the surface stay neighbours.

Z = vae.transform(X)
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for ax, column, name in zip(axes, (0, 1), ("x", "y"), strict=True):
    shown = ax.scatter(*Z.T, c=X[:, column], cmap="coolwarm", s=5)
    ax.set(xlabel="component 0", ylabel="component 1", title=f"coloured by {name}", aspect="equal")
    fig.colorbar(shown, ax=ax)
plt.show()
