"""
==========================================
A table of numbers and categories, sampled
==========================================

A DataFrame with numbers and categories is fitted as it is. What is sampled from the model is a
DataFrame with the same columns, dtypes and categories, and its rows are new.
"""

# %%
# Fisher's irises: four measurements in centimetres, and the species.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_iris

from sklearn_vae import VAETransformer

iris = load_iris(as_frame=True)
table = iris.data.copy()
table["species"] = pd.Categorical.from_codes(iris.target, list(iris.target_names))
print(table.dtypes)

# %%
# Fit, and sample as many rows as the table has.

vae = VAETransformer(n_components=2, random_state=0).fit(table)
samples = vae.sample(len(table), random_state=0)
print(samples.head())

# %%
# A number, a category, and two numbers within each category: of the table and of the samples.

both = {"table": table, "samples": samples}
length, width = "petal length (cm)", "petal width (cm)"
fig, axes = plt.subplots(1, 4, figsize=(14, 3.8), layout="constrained")

bins = np.histogram_bin_edges(pd.concat(both.values())[length], bins=16)
place = np.arange(3)
for shift, (name, frame) in zip((-0.2, 0.2), both.items(), strict=True):
    shade = {"table": "0.6", "samples": "tab:blue"}[name]
    how = {"color": shade, "label": name, "linewidth": 2}
    axes[0].hist(frame[length], bins, histtype="bar" if name == "table" else "step", **how)
    count = frame["species"].value_counts(sort=False)
    axes[1].bar(place + shift, count, width=0.4, color=shade, label=name)
axes[0].set(title="a number", xlabel=length, ylabel="flowers")
axes[1].set(title="a category", xlabel="species", ylabel="flowers", ylim=(0, 80))
axes[1].set_xticks(place, table["species"].cat.categories)
for ax in axes[:2]:
    ax.legend()

for ax, (name, frame) in zip(axes[2:], both.items(), strict=True):
    for species, rows in frame.groupby("species", observed=True):
        ax.plot(rows[length], rows[width], "o", markersize=3, label=species)
    ax.set(title=f"numbers and category: {name}", xlabel=length, ylabel=width)
    ax.set(xlim=(0, 8), ylim=(-0.5, 3.5))
    ax.legend(loc="upper left")
plt.show()

# %%
# The columns are sampled together and not one by one: a sampled flower has the petals of its
# species. Numbers are Gaussian around their mean, so the smallest petals scatter more than in the
# table, and a width may fall below 0.
