"""Sparse tables: the same model as of the dense one, and never a dense table."""

import gc
import tracemalloc

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits

from sklearn_vae import VAETransformer
from sklearn_vae._base import data
from sklearn_vae.batch import Batch
from sklearn_vae.training import net
from sklearn_vae.training.batches import Rows, TensorBatches

X = load_digits().data[:300]
FORMATS = [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.coo_array]


def quick(Estimator, **params):
    defaults = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return Estimator(2, **{**defaults, **params})


@pytest.mark.parametrize("make", FORMATS)
@pytest.mark.parametrize("likelihood", ["gaussian", "poisson"])
def test_it_is_the_model_of_the_dense_table(Estimator, make, likelihood):
    model = quick(Estimator, likelihood=likelihood)
    dense = model.fit(X).transform(X)
    np.testing.assert_array_equal(model.fit(make(X)).transform(make(X)), dense)
    for method in ("elbo", "score_samples", "impute"):
        function = getattr(model, method)
        np.testing.assert_array_equal(function(make(X)), function(X))


@pytest.mark.parametrize("likelihood", ["gaussian", "poisson"])
def test_batch_by_batch(Estimator, likelihood, monkeypatch):
    """A table that is too large to be dense gives nearly the same model."""
    params = {"likelihood": likelihood, "max_iter": 20, "early_stopping": True}
    dense = quick(Estimator, **params).fit(X)
    monkeypatch.setattr(data, "SMALL", 0)
    model = quick(Estimator, **params).fit(sparse.csr_array(X))
    np.testing.assert_allclose(model.transform(sparse.csr_array(X)), model.transform(X))
    assert model.score(X) == pytest.approx(dense.score(X), abs=3)
    model.partial_fit(sparse.csr_array(X))
    holes = sparse.csr_matrix(np.where(np.arange(X.size).reshape(X.shape) % 7, X, np.nan))
    np.testing.assert_array_equal(model.impute(holes), model.impute(holes.toarray()))


@pytest.mark.parametrize("likelihood", ["gaussian", "poisson"])
def test_batch_by_batch_it_is_the_model_of_a_dense_table_on_disk(
    Estimator, likelihood, tmp_path, monkeypatch
):
    monkeypatch.setattr(data, "SMALL", 0)
    monkeypatch.setattr(data, "IN_MEMORY", 0)
    np.save(tmp_path / "X.npy", X)
    dense = quick(Estimator, likelihood=likelihood).fit(np.load(tmp_path / "X.npy", mmap_mode="r"))
    model = quick(Estimator, likelihood=likelihood).fit(sparse.csr_array(X))
    assert model.loss_curve_ == dense.loss_curve_
    np.testing.assert_array_equal(model.score_samples(X), dense.score_samples(X))


def test_no_tensor_of_a_step_outlives_it(Estimator):
    """Small tensors kept among the large ones of the steps let the memory grow with the steps."""
    trained, alive, steps = quick(Estimator).fit(X).net_, [], iter(range(30))

    def step(batch):
        if next(steps) in (1, 29):
            alive.append(sum(type(thing) is torch.Tensor for thing in gc.get_objects()))
        return {"loss": trained.get_loss(trained.infer(batch[0]), batch[1])}

    rows = Rows(Batch(torch.zeros(300, trained.module__n_features)))
    trained.mean_loss(TensorBatches(rows, 10), step, training=True)
    assert len(alive) == 2
    assert alive[0] == alive[1]


def test_wide_rows_are_compared_a_few_at_a_time(Estimator, monkeypatch):
    trained = quick(Estimator).fit(X).net_
    rows = torch.randn(50, trained.module__n_features, generator=torch.Generator().manual_seed(0))
    expected = trained.sample_losses(rows)
    monkeypatch.setattr(net, "NUMBERS_IN_CACHE", 1)
    torch.testing.assert_close(trained.sample_losses(rows), expected, rtol=1e-4, atol=1e-3)


def test_memory():
    rows = sparse.random_array((20_000, 2000), density=0.01, format="csr", rng=0)
    rows.data[:] = np.ceil(3 * rows.data)
    model = VAETransformer(2, hidden_layer_sizes=(8,), likelihood="poisson", max_iter=1)
    tracemalloc.start()
    model.fit(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 20_000 * 2000 / 2


def test_negative_counts_are_refused(Estimator):
    rows = sparse.csr_array(-X)
    with pytest.raises(ValueError, match="poisson"):
        quick(Estimator, likelihood="poisson").fit(rows)


def test_components_are_never_sparse(Estimator):
    model = quick(Estimator).fit(X)
    with pytest.raises(TypeError, match="toarray"):
        model.inverse_transform(sparse.csr_array(np.eye(2)))
