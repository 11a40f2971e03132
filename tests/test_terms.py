"""The parts of the held-out loss, whatever the objective and the path of the step."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from sklearn_vae._base.net import Spec, build_net
from sklearn_vae.batch import Batch
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.objectives import ELBO, IWAE, InfoVAE
from sklearn_vae.training import Seeds
from sklearn_vae.training.streams import Streams

X, X_VAL = np.split(np.random.RandomState(0).permutation(load_wine().data), [120])
OBJECTIVES = {
    "elbo": ELBO(),
    "several draws": ELBO(n_draws=3),
    "beta": ELBO(beta=2.5),
    "warm-up": ELBO(kl_warmup=5),
    "free bits": ELBO(free_bits=0.5),
    "iwae": IWAE(3),
    "infovae": InfoVAE(alpha=0.5),
}


class WatchesBatches(Callback):
    def on_batch_end(self, net, **kwargs):
        pass


# The step that is written out, the ordinary one, and skorch's own loop over batches.
PATHS = {"written": [], "ordinary": [Callback()], "watched": [WatchesBatches()]}


def fit(
    Estimator, objective=OBJECTIVES["elbo"], callbacks=(), X=X, X_val=X_VAL, weight=None, **how
):
    how = {"hidden_layer_sizes": (8,), "init": "random", "max_iter": 8, "random_state": 0, **how}
    model = Estimator(3, objective=objective, net_params={"callbacks": list(callbacks)}, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, X_val=X_val, sample_weight=weight)


def curves(model):
    names = "loss", "reconstruction", "kl"
    return [np.array(getattr(model, f"validation_{name}_curve_")) for name in names]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_they_add_up_to_the_loss_of_an_elbo(Estimator, objective, path):
    model = fit(Estimator, objective, PATHS[path])
    loss, reconstruction, kl = curves(model)
    assert len(loss) == len(reconstruction) == len(kl) == model.n_iter_
    if type(objective) is ELBO:
        rest = loss - (reconstruction + objective.beta * kl)
        if objective.free_bits:
            assert (rest >= -1e-4).all()
            assert rest.max() > 0.01
        else:
            np.testing.assert_allclose(rest, 0, atol=1e-4)
    best = model.net_.history[model.net_.keep_best_.best_epoch_ - 1]
    assert model.net_.keep_best_.best_epoch_ > 0
    found = model.elbo(X_VAL, split=True)
    assert best["valid_kl"] == pytest.approx(found.kl.mean(), rel=1e-4)


@pytest.mark.parametrize("objective", [IWAE(4), InfoVAE(n_draws=4), ELBO(free_bits=9.0, n_draws=4)])
def test_they_do_not_depend_on_the_objective(Estimator, objective):
    """By the same draws of z."""
    x = torch.rand(9, 5, generator=torch.Generator().manual_seed(1))
    rows = Batch(x, weight=torch.arange(9.0) + 1), x
    found = []
    for each in (objective, ELBO(n_draws=4)):
        params = Estimator(3, objective=each).get_params(deep=False)
        net = build_net(Spec.of(params), np.ones(5), torch.device("cpu"), seed=0)
        net._streams = Streams.of(Seeds(1, 2, 3), torch.device("cpu"))
        loss = net.mean_loss([rows, rows], net.validation_step, training=False)
        found.append(net._terms.means())
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert sum(found[1].values()) == pytest.approx(loss, rel=1e-6)  # of the ELBO


def test_rows_with_weights_and_missing_values(Estimator):
    rng = np.random.RandomState(0)
    holes = np.where(rng.rand(*X.shape) < 0.2, np.nan, X)
    model = fit(Estimator, X=holes, X_val=None, weight=rng.rand(len(X)), batch_size=16)
    loss, reconstruction, kl = curves(model)
    np.testing.assert_allclose(reconstruction + kl, loss, rtol=1e-5)


def test_where_no_rows_are_held_out_there_are_none(Estimator):
    model = fit(Estimator, X_val=None, early_stopping=False)
    assert model.validation_kl_curve_ is model.validation_reconstruction_curve_ is None


def test_a_plain_autoencoder_rebuilds_under_the_noise_asked_for(Estimator):
    model = fit(Estimator, ELBO(beta=0.0), likelihood=Gaussian(noise_variance=0.1))
    loss, reconstruction, _ = curves(model)
    np.testing.assert_allclose(reconstruction, loss, rtol=1e-6)
    assert model.net_.history[-1, "valid_loss"] != pytest.approx(loss[-1])  # it was trained with


def test_they_go_on_and_are_kept(Estimator):
    model = fit(Estimator)
    before = curves(model)
    model = pickle.loads(pickle.dumps(model)).set_params(warm_start=True, max_iter=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, X_val=X_VAL)
    for longer, curve in zip(curves(model), before, strict=True):
        assert len(longer) == len(curve) + 2
        np.testing.assert_array_equal(longer[: len(curve)], curve)
