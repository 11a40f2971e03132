"""The step with its gradients written out, held to autograd's."""

import copy
import math

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from torch.nn.functional import softplus
from torch.optim.lr_scheduler import StepLR

from sklearn_vae import RhoVAETransformer, VAETransformer
from sklearn_vae._base.net import Spec, build_net
from sklearn_vae.batch import Batch
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import ACTIVATIONS
from sklearn_vae.objectives import ELBO
from sklearn_vae.posteriors import NARROWEST, POSTERIORS
from sklearn_vae.training import Rows, Seeds, TensorBatches, VAENet, losses, perceptron
from sklearn_vae.training.adamw import adamw
from sklearn_vae.training.step import WrittenStep, step_for
from sklearn_vae.training.streams import Streams

N, D = 7, 5
NOISE = {"shared": "shared", "per_feature": "per_feature", "fixed": 0.3}
LIKELIHOODS = {
    **{name: {"likelihood": Gaussian(noise, noise_growth=0.0)} for name, noise in NOISE.items()},
    "bernoulli": {"likelihood": "bernoulli"},
}
WRITTEN = [name for name, cls in ACTIVATIONS.items() if cls in perceptron.ACTIVATIONS]


def net_of(d=3, n_features=D, left_out=(), **params):
    params = VAETransformer(d, **{"hidden_layer_sizes": (6, 4), **params}).get_params(deep=False)
    scale = np.ones(n_features)
    scale[list(left_out)] = 0
    return build_net(Spec.of(params), scale, torch.device("cpu"), seed=0)


def random_batch(net, scale=1.0):
    """Rows and deviates; the net's parameters are drawn as well, none of them 0."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.module_.double().parameters():
            p.add_(scale * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    x = torch.rand(N, net.module__n_features, generator=generator, dtype=torch.float64)
    eps = torch.randn(N, net.module__n_components, generator=generator, dtype=torch.float64)
    return x, eps


def by_autograd(net, rows, eps, y):
    net._set_training(True)
    loss = net.get_loss(net.run_module(rows, eps), y, rows)
    params = [p for p in net.module_.parameters() if p.requires_grad]
    return loss, torch.autograd.grad(loss, params)


WEIGHT = torch.tensor([1.0, 0.3, 2.0, 5.0, 0.1, 1.0, 3.0], dtype=torch.float64)


def assert_equal_gradients(net, x, eps, y=None, rtol=1e-10):
    for weight in (None, WEIGHT.to(x.dtype)):
        rows = Batch(x, weight=weight)
        assert_equal_gradients_of(net, rows, eps, x if y is None else y, rtol)


def assert_equal_gradients_of(net, rows, eps, y, rtol):
    loss, gradients = by_autograd(net, rows, eps, y)
    assert step_for(net, None) is not None
    with torch.inference_mode():
        written = WrittenStep(net).gradients(rows, y, eps, net.criterion_.kl_weight)
    assert written == pytest.approx(loss.item(), rel=rtol / 100, abs=rtol)
    params = [p for p in net.module_.parameters() if p.requires_grad]
    for p, gradient in zip(params, gradients, strict=True):
        torch.testing.assert_close(
            p.grad, gradient, rtol=rtol, atol=rtol * max(1, gradient.abs().max().item())
        )


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS.keys())
@pytest.mark.parametrize("hidden", [(), (6,), (6, 4)], ids=str)
@pytest.mark.parametrize("activation", WRITTEN)
@pytest.mark.parametrize("covariance_type", POSTERIORS)
def test_gradients_are_those_of_autograd(covariance_type, activation, hidden, likelihood):
    for d, kl_weight in ((1, 1.0), (2, 0.0), (5, 2.5)):
        net = net_of(
            d,
            hidden_layer_sizes=hidden,
            activation=activation,
            covariance_type=covariance_type,
            objective=ELBO(beta=kl_weight),
            **likelihood,
        )
        assert_equal_gradients(net, *random_batch(net))
        net.criterion_.warmup = 0.3
        assert_equal_gradients(net, *random_batch(net))


# Even and odd sides, one and several channels, few filters and many.
IMAGES = {(4, 6): (3,), (8, 8): (3, 17), (2, 5, 7): (3, 4)}


@pytest.mark.parametrize(("image_shape", "n_filters"), IMAGES.items(), ids=map(str, IMAGES))
@pytest.mark.parametrize(("hidden", "activation"), [((), "silu"), ((6, 4), "tanh")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_of_convolutions(dtype, hidden, activation, image_shape, n_filters):
    params = {"image_shape": image_shape, "n_filters": n_filters, "activation": activation}
    params["hidden_layer_sizes"] = hidden
    rtol = 1e-10 if dtype is torch.float64 else 1e-3
    for left_out in ((), (0, 5)):
        net = net_of(2, n_features=int(np.prod(image_shape)), left_out=left_out, **params)
        x, eps = (rows.to(dtype) for rows in random_batch(net))
        net.module_.to(dtype)
        assert_equal_gradients(net, x, eps, rtol=rtol)
        net.module_.encoder.permute_outputs(np.array([2, 0, 3, 1]), np.array([-1, 1, 2, 1]))
        net.module_.decoder.permute_inputs(np.array([1, 0]), np.array([1, -1]))
        assert_equal_gradients(net, x, eps, rtol=rtol)


@pytest.mark.parametrize("covariance_type", POSTERIORS)
def test_gradients_at_extreme_numbers(covariance_type):
    """Log-variances beyond both bounds and at the lower one, correlations near 1, large logits."""
    for likelihood in LIKELIHOODS.values():
        net = net_of(4, hidden_layer_sizes=(), covariance_type=covariance_type, **likelihood)
        x, eps = random_batch(net, scale=5.0)
        with torch.no_grad():
            variances = net.module_.posterior.log_variances(4)
            net.module_.encoder.linear.weight[variances.start] = 0
            net.module_.encoder.linear.bias[variances] = NARROWEST
        assert_equal_gradients(net, x, eps)
        with torch.no_grad():
            net.module_.encoder.linear.bias[variances] = 10.0
        assert_equal_gradients(net, x, eps)


def test_steps_write_over_what_others_gave():
    """Fewer rows, more rows and a validation in between: each step is as if it were the first."""
    nets = [net_of(2, hidden_layer_sizes=(40, 6)) for _ in range(2)]
    (x, eps), _ = map(random_batch, nets)
    used = WrittenStep(nets[0])
    for n in (7, 3, 7, 1, 3, 7):
        with torch.inference_mode():
            used.parts(Batch(x.flip(0)), x.flip(0), eps)
            given = Batch(x[:n]), x[:n], eps[:n], 1.0
            assert used.gradients(*given) == WrittenStep(nets[1]).gradients(*given)
        for one, other in zip(*(net.module_.parameters() for net in nets), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=0)


@pytest.mark.parametrize("has_long_vectors", [False, True])
def test_tanh_is_the_same_with_short_and_with_long_vectors(has_long_vectors, monkeypatch):
    monkeypatch.setattr(perceptron, "HAS_LONG_VECTORS", has_long_vectors)
    x = torch.tensor([-100, -1, -1e-3, 0, 1e-20, 0.5, 9.0, math.inf])
    given = x.clone()
    assert perceptron.tanh(given) is given
    torch.testing.assert_close(given, torch.tanh(x), rtol=0, atol=2.5e-7)
    net = net_of(hidden_layer_sizes=(40, 6), activation="tanh")
    assert_equal_gradients(net, *random_batch(net))


def test_gradients_with_other_targets_and_a_frozen_noise():
    net = net_of()
    x, eps = random_batch(net)
    assert_equal_gradients(net, x, eps, y=x.flip(0))
    net.module_.likelihood.requires_grad_(False)
    assert_equal_gradients(net, x, eps)
    assert all(p.grad is None for p in net.module_.likelihood.parameters())


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("size", [1, 4, 9])
def test_a_step_is_the_ordinary_step(size, is_weighted):
    """From the same deviates, whatever the size of the batch; and so is the optimizer's state."""
    x = torch.rand(size, D, generator=torch.Generator().manual_seed(1))
    rows = Batch(x, weight=x[:, 0] if is_weighted else None)
    nets = [net_of(alpha=0.1) for _ in range(2)]
    for net in nets:
        net._streams = Streams.of(Seeds(1, 2, 3), torch.device("cpu"))
        net._mode = None
        net._set_training(True)
    for lr in (1e-2, 1e-2, 3e-3):
        for net in nets:
            net.optimizer_.param_groups[0]["lr"] = lr
        steps = nets[0].train_step, step_for(nets[1], None)
        losses = [take((rows, x))["loss"] for take in steps]
        assert type(losses[1]) is float
        assert losses[1] == pytest.approx(losses[0].item(), rel=1.3e-6, abs=1e-5)
    for one, other in zip(*(net.module_.parameters() for net in nets), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    states = [net.optimizer_.state_dict()["state"] for net in nets]
    for i, state in states[0].items():
        assert state["step"] == states[1][i]["step"] == 3
        torch.testing.assert_close(state["exp_avg"], states[1][i]["exp_avg"], rtol=1e-3, atol=1e-6)


@pytest.fixture
def written(monkeypatch):
    """How many steps are taken with written gradients."""
    taken = []

    def counted(self, batch, **fit_params):
        taken.append(len(batch[0]))
        return call(self, batch, **fit_params)

    call = WrittenStep.__call__
    monkeypatch.setattr(WrittenStep, "__call__", counted)
    return taken


X = np.random.RandomState(0).standard_normal((150, D)) @ np.diag([3, 2, 1, 0.5, 0.5])
UNIT = 1 / (1 + np.exp(-X))
quick = {
    "hidden_layer_sizes": (16,),
    "max_iter": 4,
    "random_state": 0,
    "batch_size": 40,
    "objective": ELBO(kl_warmup=2),
}


PARAMS = LIKELIHOODS | {"images": {"image_shape": (4, 5), "n_filters": (3, 4)}}


@pytest.mark.parametrize("Estimator", [VAETransformer, RhoVAETransformer])
@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS.keys())
@pytest.mark.parametrize("sample_weight", [None, np.arange(1, 151)], ids=["alike", "weighted"])
def test_a_fit_is_the_ordinary_fit(Estimator, params, sample_weight, written, monkeypatch):
    data = UNIT if "likelihood" in params else X
    if "image_shape" in params:  # 20 columns
        data = np.hstack([X, X**2, X**3, UNIT])
    fit = Estimator(2, **quick, **params).fit(data, sample_weight=sample_weight)
    assert written
    monkeypatch.setattr("sklearn_vae.training.net.step_for", lambda net, step_fn: step_fn)
    ordinary = Estimator(2, **quick, **params).fit(data, sample_weight=sample_weight)
    for name in ("loss_curve_", "validation_loss_curve_"):
        curves = getattr(fit, name), getattr(ordinary, name)
        np.testing.assert_allclose(*curves, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fit.transform(data), ordinary.transform(data), rtol=0, atol=1e-2)


class Validates(VAENet):
    def validation_step(self, batch, **fit_params):
        self.validated_ = getattr(self, "validated_", 0) + 1
        return super().validation_step(batch, **fit_params)


def test_a_step_is_built_once_where_nobody_else_is_about(monkeypatch):
    """A callback, or a net of one's own, may change in each epoch what a step rests on."""
    built = []

    def counted(net, step_fn):
        built.append(net)
        return step_for(net, step_fn)

    monkeypatch.setattr("sklearn_vae.training.net.step_for", counted)
    params = {**quick, "early_stopping": False}
    alone = VAETransformer(2, **params).fit(X)
    assert len(built) == 1
    built.clear()
    watched = VAETransformer(2, **params, net_params={"callbacks": [Callback]}).fit(X)
    assert len(built) == quick["max_iter"]
    np.testing.assert_allclose(watched.loss_curve_, alone.loss_curve_, rtol=1e-5)
    own = VAETransformer(2, **quick, net_class=Validates).fit(X)
    assert own.net_.validated_ > quick["max_iter"]


class Freeze(Callback):
    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            net.module_.encoder.requires_grad_(False)

    def on_train_end(self, net, **kwargs):
        state = net.optimizer_.state
        self.steps_ = [
            int(state[network.linear.bias]["step"])
            for network in (net.module_.encoder, net.module_.decoder)
        ]


def test_what_a_callback_changes_on_the_way_is_obeyed(written):
    params = {**quick, "early_stopping": False}
    model = VAETransformer(2, **params, net_params={"callbacks": [("freeze", Freeze())]}).fit(X)
    per_epoch = -(-len(X) // quick["batch_size"])
    assert dict(model.net_.callbacks_)["freeze"].steps_ == [2 * per_epoch, 4 * per_epoch]
    assert len(written) == 2 * per_epoch


class Hooked(VAENet):
    def initialize_module(self):
        super().initialize_module()
        self.module_.decoder.linear.register_forward_hook(lambda *args: None)
        return self


class TensorHooked(VAENet):
    def initialize_module(self):
        super().initialize_module()
        self.module_.decoder.linear.weight.register_hook(lambda grad: grad)
        return self


class Own(VAENet):
    def train_step_single(self, batch, **fit_params):
        return super().train_step_single(batch, **fit_params)


class Watcher(Callback):
    def on_batch_end(self, net, **kwargs):
        pass


ELSEWHERE = {
    "hook": {"net_class": Hooked},
    "tensor hook": {"net_class": TensorHooked},
    "net": {"net_class": Own},
    "gradients": {"net_params": {"callbacks": [GradientNormClipping(1.0)]}},
    "batches": {"net_params": {"callbacks": [Watcher]}},
    "optimizer": {"net_params": {"optimizer": torch.optim.Adam}},
    "precision": {"net_params": {"autocast": "bfloat16"}},
    "activation": {"activation": "gelu"},
    "network": {"encoder": torch.nn.Linear},
    "objective": {"objective": "iwae"},
    "free bits": {"objective": ELBO(free_bits=0.1)},
    "draws": {"objective": ELBO(n_draws=2)},
    "likelihood": {"likelihood": "continuous_bernoulli"},
    "heteroscedastic": {"likelihood": "heteroscedastic_gaussian"},
    "growing noise": {"likelihood": Gaussian(noise_growth=1.0)},
}


@pytest.mark.parametrize("params", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_everything_else_takes_the_ordinary_step(params, written):
    VAETransformer(2, **{**quick, "early_stopping": False, **params}).fit(
        UNIT if "likelihood" in params else X
    )
    assert not written


@pytest.mark.parametrize(
    "optimizer",
    [{"optimizer__fused": False}, {"optimizer__amsgrad": True}, {"optimizer__betas": (0.8, 0.9)}],
    ids=str,
)
def test_other_settings_of_the_optimizer_are_obeyed(optimizer, monkeypatch, written):
    params = {**quick, "early_stopping": False}
    one = VAETransformer(2, **params, net_params=optimizer).fit(X)
    assert written
    monkeypatch.setattr("sklearn_vae.training.net.step_for", lambda net, step_fn: step_fn)
    other = VAETransformer(2, **params, net_params=optimizer).fit(X)
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-4)


@pytest.mark.filterwarnings("error::UserWarning")
def test_schedules_and_hooks_of_the_optimizer_see_every_step(written):
    net = net_of()
    x = torch.rand(N, D)
    step_for(net, None)((x, x))
    seen = []
    net.optimizer_.register_step_post_hook(lambda *args: seen.append(args))
    step_for(net, None)((x, x))
    assert len(seen) == 1
    policy = LRScheduler(StepLR, step_size=1, gamma=0.1)
    VAETransformer(2, **quick, net_params={"callbacks": [policy]}).fit(X)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_loss_that_is_not_finite_is_an_error(bad, written, monkeypatch):
    monkeypatch.setattr(losses, "softplus", lambda *args, **kwargs: bad * softplus(*args))
    with pytest.raises(ValueError, match="loss became"):
        VAETransformer(2, **quick, likelihood="bernoulli").fit(UNIT)
    net = net_of()
    with torch.no_grad():
        net.module_.decoder.linear.bias.fill_(bad)
    x = torch.rand(N, D)
    assert not math.isfinite(step_for(net, None)((x, x))["loss"])


def test_the_short_step_of_the_optimizer_is_its_own():
    """In turns with its own, and after its state has been put back from a copy."""
    nets = [net_of(alpha=0.1) for _ in range(2)]
    for k in range(6):
        for net in nets:
            for i, p in enumerate(net.module_.parameters()):
                p.grad = torch.full_like(p, (i + 1) * (-0.5) ** k)
        one, other = (net.optimizer_ for net in nets)
        short = adamw(one)
        assert short != one.step
        (one.step if k == 3 else short)()
        other.step()
        one.load_state_dict(copy.deepcopy(one.state_dict()))
        for a, b in zip(*(net.module_.parameters() for net in nets), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
            assert one.state[a]["step"] == other.state[b]["step"] == k + 1


def test_batches_are_written_over_where_nobody_else_is_about():
    """Their rows are the same; who watches batches is given each in memory of its own."""
    x = torch.arange(60.0).reshape(20, 3)
    batches = TensorBatches(Rows(Batch(x)), 7, shuffle=True)

    def rows_and_places():
        batches.generator = torch.Generator().manual_seed(0)
        return zip(*((batch.x.clone(), batch.x.data_ptr()) for batch, _ in batches), strict=True)

    rows, _ = rows_and_places()
    batches.writes_over = True
    again, places = rows_and_places()
    for one, other in zip(rows, again, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert list(map(len, again)) == [7, 7, 6]
    assert places[0] == places[1] != places[2]
    torch.testing.assert_close(x, torch.arange(60.0).reshape(20, 3))

    seen = []

    class Watcher(Callback):
        def on_batch_end(self, net, batch, training=False, **kwargs):
            seen.append(batch[0].x if training else None)

    X = np.random.RandomState(0).randn(30, 3)
    params = {"batch_size": 10, "max_iter": 1, "early_stopping": False}
    VAETransformer(2, net_params={"callbacks": [Watcher()]}, **params).fit(X)
    assert len({rows.data_ptr() for rows in seen if rows is not None}) == 3
