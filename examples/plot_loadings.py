"""
==================================
Which columns a component is about
==================================

PCA's ``components_`` tell which columns of a table a component depends on. A fitted
:class:`~sklearn_vae.VAETransformer` has them as well: the mean of the decoder's derivatives over
the training rows. Here they are those of thirteen measurements of 178 Italian wines.
"""

# %%
# The names of the columns stay with the model. The columns are in different units, which the model
# finds out for itself.

import matplotlib.pyplot as plt
from sklearn.datasets import load_wine

from sklearn_vae import VAETransformer
from sklearn_vae.displays import LatentTraversalDisplay, LoadingsDisplay

X, y = load_wine(return_X_y=True, as_frame=True)
cultivar = y.map({0: "Barolo", 1: "Grignolino", 2: "Barbera"}).rename("cultivar")
vae = VAETransformer(n_components=3, random_state=0).fit(X)

# %%
# A row of the heat map says by how many of its standard deviations a column changes, on average,
# where a component grows by one. The first component is mostly about phenols and flavanoids, the
# second about alcohol and colour.

LoadingsDisplay.from_estimator(vae)
plt.show()

# %%
# A biplot shows the wines and the columns together. Wines lie in the direction of the columns that
# they have much of: Barolo is strong in alcohol and proline.

LoadingsDisplay.from_estimator(vae, X, cultivar, kind="biplot")
plt.show()

# %%
# A mean hides what is curved. The decoded columns over the plane of two components show it.

LatentTraversalDisplay.from_estimator(vae)
plt.show()

# %%
# The numbers themselves are in X's units: per unit of each component, proline changes by so many
# milligrams per litre.

for name, loading in zip(vae.column_names_, vae.components_[0], strict=True):
    print(f"{name:30s} {loading:8.2f}")
