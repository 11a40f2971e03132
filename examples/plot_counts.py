"""
=======================
Counts along a gradient
=======================

Counts of twenty species at three hundred sites. Each species is most frequent at its own place
along a gradient, which is not measured. One component of an autoencoder with a count likelihood
finds it.
"""

# %%
# The variance is above the mean, as it is for most counts.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from sklearn_vae import VAETransformer

rng = np.random.default_rng(0)
site = rng.uniform(-2, 2, size=(300, 1))
optimum = np.linspace(-2, 2, 20)
mean = 10 * np.exp(-((site - optimum) ** 2))
X = rng.negative_binomial(3, 3 / (3 + mean))

# %%
# The negative binomial has a dispersion for each species. The Poisson likelihood has none. Both
# scores are probabilities of whole numbers, so they can be compared.

models = {}
for likelihood in ("poisson", "negative_binomial"):
    vae = VAETransformer(1, likelihood=likelihood, random_state=0).fit(X)
    models[likelihood] = vae
    print(f"{likelihood:17} {vae.score(X):.1f} nats per site")
print(f"median dispersion: {np.median(vae.dispersion_):.2f}, where 1/3 was put in")

# %%
# One component orders the sites, but for some near the ends. The first component of PCA turns back
# there: sites at the ends have low counts of most species in common with sites at the middle.

components = {
    "PCA of log(1 + x)": PCA(1).fit_transform(np.log1p(X)),
    "VAE, negative binomial": models["negative_binomial"].transform(X),
}
fig, axes = plt.subplots(1, 2, figsize=(8, 3.3), layout="constrained")
for ax, (name, Z) in zip(axes, components.items(), strict=True):
    ax.scatter(site, Z, s=6)
    ax.set(xlabel="the gradient, not seen by the model", ylabel="component 0", title=name)
plt.show()

# %%
# The decoder gives the mean of each species along the component.

z = np.linspace(-2.2, 2.2, 100)[:, None]
fig, ax = plt.subplots(figsize=(7, 3.3), layout="constrained")
ax.plot(z, models["negative_binomial"].inverse_transform(z)[:, ::3])
ax.set(xlabel="component 0", ylabel="mean count", title="every third species")
plt.show()
