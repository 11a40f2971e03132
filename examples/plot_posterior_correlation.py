"""
=============================
Correlation in the posteriors
=============================

Which correlations do posteriors learn that may have some? Digits, six components, and the
posteriors "ar1", "scaled_ar1" and "full" (:ref:`rho_vae`).
"""

# %%

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_vae import RhoVAETransformer, VAETransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

models = {
    "diag": VAETransformer(6, random_state=0),
    "ar1": RhoVAETransformer(6, random_state=0),
    "scaled_ar1": RhoVAETransformer(6, covariance_type="scaled_ar1", random_state=0),
    "full": VAETransformer(6, covariance_type="full", random_state=0),
}
for name, model in models.items():
    print(f"{name:11} held-out bound {model.fit(X_train).elbo(X_test).mean():8.2f} nats")

# %%
# The correlation of the components given a digit, averaged over held-out digits. An AR(1) posterior
# can only correlate neighbours, and more distant components by powers of the same number.

fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
for ax, name in zip(axes, ("ar1", "scaled_ar1", "full"), strict=True):
    _, covariance = models[name].posterior(X_test)
    sigma = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    correlation = (covariance / sigma[:, :, None] / sigma[:, None, :]).mean(axis=0)
    image = ax.imshow(correlation, cmap="RdBu_r", vmin=-1, vmax=1)
    for (i, j), value in np.ndenumerate(correlation.round(2) + 0.0):
        if i != j:
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7)
    ax.set(title=name, xticks=range(6), yticks=range(6))
axes[0].set_ylabel("component")
fig.colorbar(image, ax=axes, label="mean posterior correlation", shrink=0.85)
plt.show()

# %%
# The correlation of neighbours that the encoder tells of each digit, by class. With one variance
# for all components ("ar1"), ρ has to stand for their different widths. Where each component has a
# variance of its own ("scaled_ar1"), little is left for ρ to tell.

fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained", sharey=True)
for ax, name in zip(axes, ("ar1", "scaled_ar1"), strict=True):
    rho = models[name].posterior(X_test, form="own")[1]["rho"][:, 0]
    ax.boxplot([rho[y_test == digit] for digit in range(10)], tick_labels=range(10), sym=".")
    ax.axhline(0, color="gray", lw=0.8)
    ax.set(title=name, xlabel="digit")
axes[0].set_ylabel("ρ of a held-out digit")
plt.show()
