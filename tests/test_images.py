"""Convolutional networks for rows that are flattened images."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from torch.func import jacfwd, jacrev, vmap
from torch.nn.functional import conv_transpose2d

from sklearn_vae import RhoVAETransformer, VAETransformer, networks
from sklearn_vae.likelihoods import LIKELIHOODS, Gaussian
from sklearn_vae.module import VAE
from sklearn_vae.networks import ConvDecoder, ConvEncoder, ImageShape, LinearPath, layers_of
from sklearn_vae.objectives import OBJECTIVES
from sklearn_vae.posteriors import POSTERIORS

# Even and odd sides, one and several channels, and the smallest image that halvings admit.
SHAPES = {(8, 8): (3, 4), (7, 9): (5,), (2, 5, 11): (3, 4), (4, 4): (2, 3)}
shapes = pytest.mark.parametrize(("shape", "n_filters"), SHAPES.items(), ids=map(str, SHAPES))


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def blobs(n, height, width, seed=0):
    """Images of one bright spot each, whose place varies."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width]
    centre = rng.uniform(1, [height - 2, width - 2], (n, 2))[..., None, None]
    squares = (y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2
    return np.exp(-squares / 3).reshape(n, -1) + 0.01 * rng.standard_normal((n, height * width))


def image_of(shape, n_filters, left_out=()):
    kept = np.ones(int(np.prod(shape)), dtype=bool)
    kept[list(left_out)] = False
    return ImageShape.of(shape, n_filters, kept)


def estimator(d=2, covariance_type="diag", **params):
    Estimator = RhoVAETransformer if covariance_type.endswith("ar1") else VAETransformer
    defaults = {"hidden_layer_sizes": (8,), "n_filters": (3,), "max_iter": 3, "random_state": 0}
    defaults |= {"image_shape": (6, 5)}
    return Estimator(d, covariance_type=covariance_type, **defaults | params)


@shapes
@pytest.mark.parametrize("n_blocks", [1, 2])
@pytest.mark.parametrize("hidden", [(), (6, 7)])
def test_shapes_and_gradients(shape, n_filters, n_blocks, hidden):
    image = image_of(shape, n_filters, left_out=(0, 5))
    n_pixels = n_blocks * (image.size - 2)
    encoder = ConvEncoder(n_pixels, 3, image, n_filters, hidden)
    decoder = ConvDecoder(3, n_pixels, image, n_filters[::-1], hidden[::-1])
    x, z = rows(11, n_pixels), rows(11, 3)
    assert encoder(x).shape == (11, 3)
    assert decoder(z).shape == (11, n_pixels)
    (encoder(x).square().sum() + decoder(z).square().sum()).backward()
    parameters = [*encoder.parameters(), *decoder.parameters()]
    assert all(torch.any(p.grad != 0) and torch.isfinite(p.grad).all() for p in parameters)


@shapes
def test_pixels_that_are_left_out_are_zeros(shape, n_filters):
    """The networks are those of whole images, whose other pixels are 0 or not asked for."""
    whole, part = image_of(shape, n_filters), image_of(shape, n_filters, left_out=(1, 2, 7))
    nets = {}
    for name, image in {"whole": whole, "part": part}.items():
        nets[name] = (
            ConvEncoder(2 * len(image.kept), 3, image, n_filters, (6,)),
            ConvDecoder(3, 2 * len(image.kept), image, n_filters[::-1], (6,)),
        )
    for one, other in zip(nets["part"], nets["whole"], strict=True):
        one.load_state_dict(other.state_dict())
    x, z, kept = rows(5, 2, len(part.kept)), rows(5, 3), part.kept
    image = torch.zeros(5, 2, whole.size)
    image[..., kept] = x
    encoded = [nets["part"][0](x.flatten(1)), nets["whole"][0](image.flatten(1))]
    torch.testing.assert_close(*encoded)
    decoded = nets["whole"][1](z).unflatten(1, (2, -1))[..., kept]
    torch.testing.assert_close(nets["part"][1](z), decoded.flatten(1))


@pytest.mark.parametrize("shift", [(2, 0), (0, 4)])
def test_a_shifted_image_has_shifted_features(shift):
    """Convolutions by windows that move by 2: away from the borders, features move along."""
    image = image_of((3, 16, 12), (4,))
    encoder = ConvEncoder(image.size, 2, image, (4,))
    x = torch.zeros(1, 3, 16, 12)
    x[:, :, 4:8, 4:6] = rows(1, 3, 4, 2)
    shifted = torch.roll(x, shift, (2, 3))
    features = encoder.layers[:2](x), encoder.layers[:2](shifted)
    moved = torch.roll(features[0], tuple(s // 2 for s in shift), (2, 3))
    torch.testing.assert_close(moved, features[1])


@pytest.mark.parametrize("sides", [(1, 1), (2, 5), (7, 4)])
@pytest.mark.parametrize("n_out", [1, 3])
def test_a_transposed_convolution_as_a_plain_one(n_out, sides):
    """What it gives is what torch's gives, and so are its derivatives of both orders."""
    x, weight, bias = (rows(*of).double() for of in ((6, 2, *sides), (2, n_out, 4, 4), (n_out,)))

    def by(convolution):
        def cubes(x, *parameters):
            return convolution(x[None], *parameters).pow(3).sum()

        gradients = jacrev(cubes, (0, 1, 2))
        second = vmap(jacfwd(jacrev(cubes)), (0, None, None))(x, weight, bias)
        return convolution(x, weight, bias), gradients(x[0], weight, bias), second

    torch.testing.assert_close(
        by(networks.transposed), by(partial(conv_transpose2d, stride=2, padding=1))
    )


@shapes
@pytest.mark.parametrize(("covariance_type", "d"), [("diag", 3), ("ar1", 2)])
def test_training_starts_at_pca(shape, n_filters, covariance_type, d):
    X = rows(60, int(np.prod(shape))).numpy().cumsum(axis=1)
    X[:, 3] = 1.0  # a pixel that does not vary has no density
    start = {"learning_rate_init": 1e-12, "max_iter": 1, "early_stopping": False}
    model = estimator(d, covariance_type, image_shape=shape, n_filters=n_filters, **start).fit(X)
    varies = np.ptp(X, axis=0) > 0
    assert model.score(X) == pytest.approx(PCA(d).fit(X[:, varies]).score(X[:, varies]), abs=0.1)


COMBINATIONS = [
    *({"covariance_type": name} for name in POSTERIORS),
    *({"likelihood": name} for name in LIKELIHOODS if name not in ("gaussian", "categorical")),
    {"likelihood": Gaussian(noise_variance="per_feature")},
    *({"covariance_type": "scaled_ar1", "objective": name} for name in OBJECTIVES),
    {"init": "random"},
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:Only . of", "ignore:The log-likelihood of")
@pytest.mark.parametrize("params", COMBINATIONS, ids=str)
def test_every_posterior_likelihood_and_objective(params):
    X = np.random.RandomState(0).binomial(1, blobs(60, 6, 5).clip(0, 1)).astype(float)
    model = estimator(**params).fit(X)
    assert model.n_iter_ > 0
    assert np.isfinite(model.score(X))
    assert model.inverse_transform(model.transform(X)).shape == X.shape
    assert model.sample(4, random_state=0).shape == (4, 30)


def test_convolutions_find_what_moves():
    """Where a spot is takes two numbers; of linear components it takes many."""
    X, X_test = np.split(blobs(400, 8, 8), [300])
    params = {"image_shape": (8, 8), "n_filters": (8, 16), "hidden_layer_sizes": (32,)}
    model = estimator(2, max_iter=40, batch_size=32, **params).fit(X)
    linear = PCA(2).fit(X)
    assert model.score(X_test) > linear.score(X_test) + 20
    residuals = [X_test - m.inverse_transform(m.transform(X_test)) for m in (model, linear)]
    assert np.square(residuals[0]).mean() < 0.5 * np.square(residuals[1]).mean()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_missing_pixels():
    X = blobs(80, 6, 5)
    X[np.random.RandomState(0).random_sample(X.shape) < 0.1] = np.nan
    model = estimator().fit(X)
    assert model.net_.module_.encoder.net.n_blocks == 2  # pixels, and which are missing
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_clone_pickle_and_grid_search():
    X = blobs(80, 6, 5)
    model = estimator().fit(X)
    again = clone(model).fit(X)
    loaded = pickle.loads(pickle.dumps(model))
    for other in (again, loaded):
        np.testing.assert_allclose(other.transform(X), model.transform(X))
    X = X.astype(np.float32)
    grid = {"n_filters": [(2,), (3, 4)], "image_shape": [(6, 5), (5, 6)]}
    search = GridSearchCV(estimator(), grid, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    model.set_params(n_filters=(4,), warm_start=True)
    with pytest.raises(ValueError, match="another n_filters"):
        model.fit(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_network_of_ones_own_takes_the_place_of_one():
    params = {"decoder": partial(networks.MLP, hidden_layer_sizes=(4,))}
    module = estimator(**params).fit(blobs(40, 6, 5)).net_.module_
    assert type(module.encoder.net) is ConvEncoder
    assert type(module.decoder.net) is networks.MLP


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"image_shape": (8, 8)}, "64 numbers, but X has 30 columns"),
        ({"image_shape": (30,)}, r"\(height, width\) or"),
        ({"image_shape": (6, -5)}, "positive integers"),
        ({"image_shape": (6.0, 5)}, "positive integers"),
        ({"n_filters": ()}, "leave image_shape=None"),
        ({"n_filters": (3, 0)}, "positive integers"),
        ({"n_filters": (3, 4, 5)}, "takes at least 8 x 8"),
        ({"likelihood": [("bernoulli", list(range(30)))]}, "Leave image_shape=None"),
    ],
)
def test_errors_say_what_to_do(params, message):
    X = (blobs(20, 6, 5) > 0.5).astype(float)
    with pytest.raises(ValueError, match=message):
        estimator(**params).fit(X)


def test_the_widest_layer_is_found():
    image = image_of((8, 8), (3, 4))
    encoder = ConvEncoder(64, 2, image, (3, 4), (10,)).train()
    assert layers_of(encoder, 64)[1] == 64
    assert layers_of(ConvEncoder(64, 2, image, (30, 4)), 64)[1] == 30 * 4 * 4
    assert layers_of(ConvDecoder(2, 64, image, (4, 30)), 2)[1] == 30 * 4 * 4
    assert encoder.training
    assert not any(layer._forward_hooks for layer in encoder.modules())


def test_memory_of_evaluation_is_bounded(monkeypatch):
    """However many filters and rows there are, no layer holds more numbers than it may."""
    image, seen = image_of((8, 8), (30,)), []
    make = {
        "encoder": partial(LinearPath, make=partial(ConvEncoder, image=image, n_filters=(30,))),
        "decoder": partial(LinearPath, make=partial(ConvDecoder, image=image, n_filters=(30,))),
    }
    likelihood = partial(LIKELIHOODS["bernoulli"]().build, np.ones(64))
    module = VAE(64, 2, POSTERIORS["diag"], likelihood, **make).eval()
    assert module.width == 30 * 4 * 4
    for layer in module.modules():
        layer.register_forward_hook(lambda layer, args, y: seen.append(y))
    x = rows(100, 64)
    with torch.no_grad():
        at_once = module.reconstruct(x)
        monkeypatch.setattr(networks.linear_path, "NUMBERS_IN_CACHE", 3000)
        seen.clear()
        in_parts = module.reconstruct(x)
    torch.testing.assert_close(in_parts, at_once)
    convolved = [y.numel() for y in seen if isinstance(y, torch.Tensor) and y.ndim == 4]
    assert len(convolved) > 10
    assert max(convolved) <= 3000
    seen.clear()
    module.reconstruct(x)  # with gradients, all rows are needed at once
    assert any(len(y) == 100 for y in seen if isinstance(y, torch.Tensor) and y.ndim == 4)
