"""Networks with a linear path: the perceptron, and any network that a user brings."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae.networks import (
    ACTIVATIONS,
    MLP,
    ConvDecoder,
    ConvEncoder,
    ImageShape,
    LinearPath,
)


class Residual(nn.Module):
    """A block with normalisation over the batch, as a user may write it."""

    def __init__(self, n_in, n_out, width=16):
        super().__init__()
        self.first, self.last = nn.Linear(n_in, width), nn.Linear(width, n_out)
        self.block = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x):
        h = self.first(x)
        return self.last(h + self.block(h))


class Skip(Residual):
    """A network that is not 0 where its last layer is."""

    def forward(self, x):
        return super().forward(x) + x.square().sum(1, keepdim=True)


def convolutional(n_in, n_out):
    """An encoder of images of 3 x 4 pixels, of which the first n_in are seen."""
    image = ImageShape.of((3, 4), (8,), np.arange(12) < n_in)
    return ConvEncoder(n_in, n_out, image, (8,))


def deconvolutional(n_in, n_out):
    """A decoder of such images."""
    image = ImageShape.of((3, 4), (8,), np.arange(12) < n_out)
    return ConvDecoder(n_in, n_out, image, (8,), (16,))


NETWORKS = {
    "linear": partial(MLP, hidden_layer_sizes=()),
    "shallow": partial(MLP, hidden_layer_sizes=(7,)),
    "deep": partial(MLP, hidden_layer_sizes=(50, 30)),
    "own": partial(LinearPath, make=Residual),
    "gated": partial(LinearPath, make=Skip),
    "convolutional": partial(LinearPath, make=convolutional),
    "deconvolutional": partial(LinearPath, make=deconvolutional),
}
networks = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden_layer_sizes", [(), (7,), (50, 30), (4, 5, 6)])
def test_shapes_and_gradients(hidden_layer_sizes, activation):
    mlp = MLP(3, 2, hidden_layer_sizes, activation)
    y = mlp(rows(11, 3))
    assert y.shape == (11, 2)
    y.square().sum().backward()
    assert all(torch.any(p.grad != 0) for p in mlp.parameters())
    weights = [p for p in mlp.parameters() if p.ndim == 2]
    assert len(weights) == 1 + (len(hidden_layer_sizes) + 1 if hidden_layer_sizes else 0)


def test_without_hidden_layers_it_is_linear():
    assert MLP(3, 2, ()).net is None


@pytest.mark.parametrize(
    ("make", "last"),
    [(Residual, "last"), (convolutional, "layers.3"), (deconvolutional, "layers.5"), (Skip, None)],
)
def test_the_last_layer_is_found_where_the_network_is_0_without_it(make, last):
    net = LinearPath(4, 3, make)
    assert net.last == last
    net.start_linear(torch.zeros(3, 4), torch.zeros(3))
    assert (net.gate == (0 if last is None else 1)).all()
    assert not net(rows(9, 4)).any()


@networks
def test_starts_as_the_linear_map_it_is_told(network):
    net, reference = network(3, 2), nn.Linear(3, 2)
    net.start_linear(reference.weight, reference.bias)
    for x in (rows(11, 3), 1e3 * rows(5, 3, seed=1)):
        torch.testing.assert_close(net(x), reference(x))


@networks
def test_it_leaves_the_linear_map_in_training(network):
    """One step opens the way for the network, and the second takes it."""
    net, x, y = network(3, 2), rows(64, 3), rows(64, 3).square()[:, :2]
    net.start_linear(torch.zeros(2, 3), torch.zeros(2))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        (net(x) - y).square().mean().backward()
        optimizer.step()
    inputs = torch.hstack([x, torch.ones(64, 1)])
    linear = (inputs @ torch.linalg.lstsq(inputs, y).solution - y).square().mean()
    if network is NETWORKS["linear"]:
        assert (net(x) - y).square().mean() >= 0.99 * linear
    else:
        assert (net(x) - y).square().mean() < 0.7 * linear


@networks
def test_inputs_and_outputs_are_permuted(network):
    """Twice in a row, by cycles that are not their own inverses."""
    net, x = network(4, 3).eval(), rows(11, 4)
    order_in, signs = np.array([2, 0, 3, 1]), np.array([1.0, -1.0, -1.0, 1.0])
    order_out, factors = np.array([1, 2, 0]), np.array([-1.0, 1.0, 2.0])
    expected = net(x)
    for _ in range(2):
        net.permute_inputs(order_in, signs)
        net.permute_outputs(order_out, factors)
        x = x[:, order_in] * torch.from_numpy(signs).float()
        expected = expected[:, order_out] * torch.from_numpy(factors).float()
        torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
@pytest.mark.parametrize(("Estimator", "d"), [(VAETransformer, 3), (RhoVAETransformer, 2)])
def test_networks_of_ones_own_start_at_the_linear_model(load, Estimator, d):
    X = StandardScaler().fit_transform(load().data)
    own = {"encoder": Residual, "decoder": Residual}
    start = {"learning_rate_init": 1e-12, "max_iter": 1, "early_stopping": False, "random_state": 0}
    assert Estimator(d, **start, **own).fit(X).score(X) == pytest.approx(
        PCA(d).fit(X).score(X), abs=0.1
    )


@pytest.mark.parametrize("seed", range(2))
def test_networks_of_ones_own_do_not_lose_to_the_linear_model(seed):
    X = StandardScaler().fit_transform(load_breast_cancer().data)
    X, X_test = np.split(np.random.RandomState(seed).permutation(X), [400])
    model = VAETransformer(
        4, encoder=Residual, decoder=Residual, max_iter=60, random_state=seed
    ).fit(X)
    assert model.score(X_test) > PCA(4).fit(X).score(X_test)
    assert (np.diff(model.explained_variance_ratio_) <= 0).all()
