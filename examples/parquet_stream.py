"""A table in a parquet file, trained batch by batch: numbers and categories, never in memory whole.

It needs pyarrow and pandas, and makes its own file. The levels of a category have to be known at
the first batch, since any batch may lack some. So the first batch declares them by its dtype; here
they are found by a pass over that column alone.

Run as ``python examples/parquet_stream.py``.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sklearn_vae import VAETransformer

ROWS, GROUP = 40_000, 5_000
SHOPS = np.array(["airport", "harbour", "market", "station", "village"])


def visits(n, seed):
    """Visits to five shops: where, how long, how much was spent, and whether by card."""
    rng = np.random.default_rng(seed)
    shop = rng.choice(5, size=n, p=[0.3, 0.1, 0.3, 0.29, 0.01])
    minutes = rng.gamma(2.0 + shop, 3.0)
    spent = 2.0 * minutes + 5.0 * shop + rng.normal(0, 4, n)
    card = rng.random(n) < 1 / (1 + np.exp(2 - 0.1 * spent))
    return pd.DataFrame({"shop": SHOPS[shop], "minutes": minutes, "spent": spent, "card": card})


def write(path):
    """The file, a row group at a time."""
    with pq.ParquetWriter(path, pa.Schema.from_pandas(visits(10, 0))) as writer:
        for seed in range(ROWS // GROUP):
            writer.write_table(pa.Table.from_pandas(visits(GROUP, seed), schema=writer.schema))


def levels_of(file, column):
    """All levels of a column, from that column alone."""
    batches = file.iter_batches(columns=[column])
    return sorted({level for batch in batches for level in pc.unique(batch[column]).to_pylist()})


def batches_of(file, dtypes):
    """The file as DataFrames; the dtypes declare levels."""
    for batch in file.iter_batches(batch_size=2_000):
        yield batch.to_pandas().astype(dtypes)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "visits.parquet")
        write(path)
        file = pq.ParquetFile(path)
        dtypes = {"shop": pd.CategoricalDtype(levels_of(file, "shop"))}
        model = VAETransformer(n_components=2, random_state=0)
        for epoch in range(2):
            for frame in batches_of(file, dtypes):
                model.partial_fit(frame)
            print(f"pass {epoch + 1}: {model.score(frame):.3f} nats per row of the last batch")
    samples = model.sample(10_000, random_state=0)
    print(samples.dtypes.to_string())
    print("\nmeans by shop of the last batch, and of samples:")
    means = [rows.groupby("shop", observed=True)["spent"].mean() for rows in (frame, samples)]
    print(pd.concat(means, axis=1, keys=["batch", "samples"]).round(1))


if __name__ == "__main__":
    main()
