r"""
======================
Families of posteriors
======================

What is known of the components of a row is a distribution, and a family of posteriors says which
shapes it may have. On a linear model the true posterior is known, so each family can be drawn
beside it.
"""

# %%
# The families
# ------------
#
# Two components whose true posterior is correlated. For each family, the member of it that is
# closest in KL divergence to the truth, with the components as they are. The caption has that
# divergence in nats.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from sklearn_vae import RhoVAETransformer, VAETransformer

S = np.array([[1.0, 0.42], [0.42, 0.36]])


def covariance(family, numbers):
    """The covariance of a family's numbers, of which log-variances come first."""
    a, b, c = np.exp(numbers[0] / 2), np.exp(numbers[1] / 2), np.tanh(numbers[2])
    a, b = (a, a) if family in ("spherical", "ar1") else (a, b)
    rho = 0 if family in ("spherical", "diag") else c
    return np.array([[a * a, rho * a * b], [rho * a * b, b * b]])


def kl(C):
    """KL(N(0, C) || N(0, S)) in nats."""
    M = np.linalg.solve(S, C)
    return 0.5 * (np.trace(M) - 2 - np.linalg.slogdet(M)[1])


def draw(ax, C, **style):
    """The ellipse that holds 86 % of N(0, C)."""
    values, vectors = np.linalg.eigh(C)
    angle = np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))
    ax.add_patch(Ellipse((0, 0), *(4 * np.sqrt(values[::-1])), angle=angle, fill=False, **style))


fig, axes = plt.subplots(1, 5, figsize=(11, 3.1), layout="constrained", sharey=True)
for ax, family in zip(axes, ("spherical", "diag", "ar1", "scaled_ar1", "full"), strict=True):
    best = minimize(lambda n, f=family: kl(covariance(f, n)), [-1.0, -1.0, 0.1], tol=1e-10)
    C = covariance(family, best.x)
    draw(ax, S, color="grey", lw=5, alpha=0.4)
    draw(ax, C, color="tab:red", lw=1.5)
    ax.set(title=f"{family}\n{abs(kl(C)):.2f} nats", xlim=(-2.5, 2.5), ylim=(-2.5, 2.5))
    ax.set_aspect("equal")
fig.supxlabel("component 0; the truth in grey, the closest member of each family in red")
plt.show()

# %%
# Why this matters less than it looks
# -----------------------------------
#
# The basis of the components is free: the decoder may rotate them until the posterior suits the
# family. A linear model on thirty columns, trained with each family. The score is log p(x) and does
# not depend on the posterior; the ELBO is below it by what the posterior misses.

X = StandardScaler().fit_transform(load_breast_cancer().data)
linear = {"hidden_layer_sizes": (), "max_iter": 30, "random_state": 0}
gaps = {}
for family in ("spherical", "diag", "ar1", "scaled_ar1", "full"):
    Estimator = RhoVAETransformer if "ar1" in family else VAETransformer
    vae = Estimator(6, covariance_type=family, **linear).fit(X)
    gaps[family] = vae.score(X) - vae.elbo(X, n_draws=1024).mean()
    print(f"{family:10} score {vae.score(X):.2f}, ELBO lower by {gaps[family]:.2f} nats")

fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
ax.barh(list(gaps), list(gaps.values()))
ax.set(xlabel="nats that the bound loses", title="Breast cancer, six components, a linear model")
ax.invert_yaxis()
plt.show()
