"""The perceptron with a linear path."""

import pytest
import torch

from sklearn_vae.networks import ACTIVATIONS, MLP


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden_layer_sizes", [(), (7,), (50, 30), (4, 5, 6)])
def test_shapes_and_gradients(hidden_layer_sizes, activation):
    mlp = MLP(3, 2, hidden_layer_sizes, activation)
    y = mlp(torch.randn(11, 3, generator=torch.Generator().manual_seed(0)))
    assert y.shape == (11, 2)
    y.square().sum().backward()
    assert all(torch.any(p.grad != 0) for p in mlp.parameters())
    weights = [p for p in mlp.parameters() if p.ndim == 2]
    assert len(weights) == 1 + (len(hidden_layer_sizes) + 1 if hidden_layer_sizes else 0)


@pytest.mark.parametrize("hidden_layer_sizes", [(), (7,), (50, 30)])
def test_starts_as_the_linear_map_it_is_told(hidden_layer_sizes):
    mlp, reference = MLP(3, 2, hidden_layer_sizes), torch.nn.Linear(3, 2)
    mlp.start_linear(reference.weight, reference.bias)
    x = torch.randn(11, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mlp(x), reference(x))


def test_without_hidden_layers_it_is_linear():
    assert MLP(3, 2, ()).net is None
