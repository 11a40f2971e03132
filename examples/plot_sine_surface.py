"""
==========================================
A curved surface reduced to two components
==========================================

The points (x, y, sin(x + y)) lie on a surface of two dimensions in three. No plane comes close to
it, so PCA with two components flattens it. A variational autoencoder with two components bends to
it.
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
# Reduce to two components and reconstruct, with PCA and with the autoencoder on its defaults.

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
# How many samples lie on the surface? Those whose third column is within three noise standard
# deviations of the sine of the sum of the first two, and whose first two are within the square.

away = np.abs(samples[:, 2] - np.sin(samples[:, 0] + samples[:, 1]))
inside = (np.abs(samples[:, :2]) < np.pi).all(axis=1)
near = away < 3 * max(0.05, np.sqrt(vae.noise_variance_.mean()))
print(f"samples on the surface: {np.mean(near & inside):.0%}")
print(f"beyond the edge of the square: {np.mean(~inside):.0%}")
print(f"within the square but off the surface: {np.mean(inside & ~near):.0%}")

# %%
# The samples are drawn from a standard normal distribution of the components, and the surface is a
# square with corners and edges. A smooth decoder cannot make the one of the other without a rest:
# some samples lie beyond the edge, and some between the folds.
#
# The colour is the third column of the data. The samples are coloured by their distance from the
# surface.

fig = plt.figure(figsize=(10, 8.5), layout="constrained")
panels = {
    "the data": (X, X[:, 2], "viridis", (-1, 1)),
    f"reconstructed by PCA, R² {r2_pca:.2f}": (by_pca, X[:, 2], "viridis", (-1, 1)),
    f"reconstructed by the VAE, R² {r2_vae:.2f}": (by_vae, X[:, 2], "viridis", (-1, 1)),
    "samples of the VAE, by distance from the surface": (samples, away, "Reds", (-0.3, 1)),
}
for position, (title, (points, colour, cmap, limits)) in enumerate(panels.items(), start=1):
    ax = fig.add_subplot(2, 2, position, projection="3d")
    ax.scatter(*points.T, c=colour, cmap=cmap, s=4, vmin=limits[0], vmax=limits[1])
    ax.set(xlim=(-4, 4), ylim=(-4, 4), zlim=(-1.5, 1.5), xlabel="x", ylabel="y", zlabel="z")
    ax.set_title(title)
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
