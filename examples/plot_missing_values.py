"""
==========================================
Missing values, filled in and told apart
==========================================

A fitted model says what a missing value probably was (its conditional mean), and how sure that is
(draws from its conditional distribution). Here 30 % of the values of scikit-learn's wine table are
taken out and filled in again. So what is imputed can be compared with what was there.
"""

# %%
# The table has 13 measurements of 178 wines, each in units of its standard deviation. Values are
# taken out completely at random.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer

wine = load_wine()
X = StandardScaler().fit_transform(wine.data)
missing = np.random.RandomState(0).random_sample(X.shape) < 0.3
X_incomplete = np.where(missing, np.nan, X)

# %%
# ``fit`` takes the table with its holes, and ``impute`` fills them.

vae = VAETransformer(n_components=6, random_state=0).fit(X_incomplete)
imputed = {
    "column mean": SimpleImputer().fit_transform(X_incomplete),
    "IterativeImputer": IterativeImputer(max_iter=50, random_state=0).fit_transform(X_incomplete),
    "VAETransformer": vae.impute(X_incomplete),
}
errors = {}
for name, filled in imputed.items():
    errors[name] = np.sqrt(np.mean((filled - X)[missing] ** 2))
    print(f"{name:20} root mean squared error {errors[name]:.3f}")

# %%
# Draws of the missing values say how sure each of them is. In 90 % of cases the true value should
# lie between the 5 % and the 95 % quantile of its draws.

draws = vae.impute(X_incomplete, multiple=100, random_state=0)
low, high = np.quantile(draws, [0.05, 0.95], axis=0)
inside = (low <= X) & (high >= X)
print(f"90 % intervals contain {100 * inside[missing].mean():.0f} % of the missing values")

# %%
# Three columns. Each point is a missing value, and the line through it is its 90 % interval. Where
# the interval crosses the diagonal, it contains the true value.

columns = [wine.feature_names.index(name) for name in ("flavanoids", "color_intensity", "ash")]
fig, axes = plt.subplots(1, 4, figsize=(14, 3.8), layout="constrained")
for ax, j in zip(axes, columns, strict=False):
    for contains, colour in ((True, "tab:blue"), (False, "tab:red")):
        rows = np.flatnonzero(missing[:, j] & (inside[:, j] == contains))
        label = f"interval {'contains' if contains else 'misses'} the true value"
        ax.vlines(X[rows, j], low[rows, j], high[rows, j], color=colour, alpha=0.35)
        ax.plot(X[rows, j], imputed["VAETransformer"][rows, j], "o", c=colour, ms=3, label=label)
    ax.axline((0, 0), slope=1, color="0.3", linewidth=1, linestyle="--")
    ax.set(title=wine.feature_names[j].replace("_", " "), ylim=(-4, 4))
    ax.set_xlabel("true value, in standard deviations")
axes[0].set_ylabel("imputed value and 90 % interval")
axes[0].legend(fontsize="small", loc="upper left")
axes[3].barh(list(errors), list(errors.values()), color=["0.7", "0.5", "tab:blue"])
axes[3].set(title="all missing values", xlabel="root mean squared error")
axes[3].invert_yaxis()
plt.show()

# %%
# A column that others tell much about, such as the flavanoids, is filled in closely. About the ash
# they tell little. So its values are filled in near the mean, and their intervals are wider.
