"""Counts of genes in an AnnData object: sparse in ``adata.X``, components in ``adata.obsm``.

It needs anndata, and makes its own data: 3,000 cells of four types, 2,000 genes, 95 % zeros. The
matrix stays sparse; rows are made dense batch by batch.

Run as ``python examples/anndata_counts.py``.
"""

import anndata
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.metrics import silhouette_score

from sklearn_vae import VAETransformer

CELLS, GENES, TYPES = 3_000, 2_000, 4


def cells():
    """Cells of several types, each with its own rate of every gene."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.3, 0.17, (1, GENES)) * rng.lognormal(0, 1, (TYPES, GENES))
    kind = rng.integers(TYPES, size=CELLS)
    counts = rng.poisson(rates[kind] * rng.lognormal(0, 0.3, (CELLS, 1)))
    obs = pd.DataFrame({"type": pd.Categorical(kind.astype(str))})
    obs.index = [f"cell {i}" for i in range(CELLS)]
    var = pd.DataFrame(index=[f"gene {j}" for j in range(GENES)])
    return anndata.AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs, var)


def main():
    adata = cells()
    zeros = 1 - adata.X.nnz / (CELLS * GENES)
    print(f"{adata.n_obs} cells, {adata.n_vars} genes, {100 * zeros:.0f} % zeros")
    model = VAETransformer(8, likelihood="negative_binomial", max_iter=20, random_state=0)
    adata.obsm["X_vae"] = model.fit_transform(adata.X)
    adata.var["dispersion"] = model.dispersion_
    print(adata)
    apart = silhouette_score(adata.obsm["X_vae"], adata.obs["type"])
    print(f"silhouette of the types: {apart:.2f}")


if __name__ == "__main__":
    main()
