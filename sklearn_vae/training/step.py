r"""A training step with its gradients written out, for the networks that the estimators build.

On small tensors, most of a step is autograd's bookkeeping. Below, a prime marks the derivative by a
quantity of loss = sum_i p_i (w KL_i - log p(x_i | z_i)), for the weight w of the KL and the share p
of a row: 1/n, or its weight over the sum of weights. Likelihoods are in `losses.py`, networks in
`perceptron.py` and `convolutional.py`.

**Posteriors.** With z = mu + sigma u and l = log sigma^2,

    mu' = z' + w p mu      l' = 1/2 (z' sigma u + w p (sigma^2 - 1))

with the sum of l' over components that share their variance, times the slope of
`log_variance_from`. With u = eps, `Full` adds L_ij eps_j to z_i: L_ij' = z'_i eps_j + w p L_ij.

An autoregression has u = C(rho) eps, rho = tanh r, c^2 = 1 - rho^2, u_j = rho u_{j-1} + c eps_j.
With drho/dr = c^2 and dc/dr = -rho c the derivative of u by r is C(rho) v, where v_1 = 0 and

    v_j = c u_{j-1} - rho eps_j,      r' = sum_j z'_j sigma_j (C(rho) v)_j + w p (d - 1) rho.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from skorch import NeuralNet
from torch import Tensor, nn

from ..batch import Batch
from ..module import VAE
from ..objectives import ELBO
from ..posteriors import NARROWEST, POSTERIORS, WIDEST, Full, Posterior, ScaledAR1
from ..priors import StandardNormal
from .adamw import ONE, AdamW
from .convolutional import ImageNetwork, is_convolutional
from .graph import is_known
from .layout import zeros_like
from .losses import LOSSES, Share, plus, share_of, total
from .perceptron import Network, is_perceptron
from .soap import SOAP, update_of

aten = torch.ops.aten


def to_numbers(
    q: Posterior, numbers: Tensor, eps: Tensor, noise: Tensor, z_grad: Tensor, weight: Share
) -> Tensor:
    """The gradient of the encoder's numbers, for ``z = q.mean + noise`` and the weight w p."""
    d = eps.shape[1]
    own = q.scale * eps if isinstance(q, Full) else noise
    twice = plus(z_grad * own, weight, q.scale.square().sub_(ONE))
    twice, number = twice.sum_to_size(q.scale.shape), numbers[:, q.log_variances(d)]
    # The slope of celu, times 1/2; that of the clamp is 1 at its bound.
    half = aten.elu_backward.default(twice, WIDEST, 0.5, 1 / WIDEST, False, -number)
    half = aten.threshold_backward.default(half, number, NARROWEST - 1e-5)
    grads = [plus(z_grad, weight, q.mean), half]
    if isinstance(q, Full):
        (rows, columns), lower = torch.tril_indices(d, d, offset=-1), numbers[:, 2 * d :]
        grads.append(plus(z_grad[:, rows] * eps[:, columns], weight, lower))
    elif isinstance(q, ScaledAR1):
        u = noise / q.scale
        v = torch.exp(q.log_innovation) * u[:, :-1] - q.rho * eps[:, 1:]
        slope = q.color(torch.cat([torch.zeros_like(q.rho), v], 1))
        grads.append((z_grad * slope).sum(1, keepdim=True).add_(q.rho * ((d - 1) * weight)))
    return torch.cat(grads, 1)


class WrittenStep:
    """A training step, for the nets that `step_for` knows and rows that are complete."""

    def __init__(self, net: NeuralNet):
        net._set_training(True)
        self.net, self.module = net, net.module_
        params = list(self.module.parameters())
        learned = [p for p in params if p.requires_grad]
        for p in params:
            p.grad = None
        for p, grad in zip(learned, zeros_like(learned), strict=True):
            p.grad = grad
        networks = self.module.encoder, self.module.decoder
        self.encoder, self.decoder = (kind_of(network)(network) for network in networks)
        self.loss_of, self.update = LOSSES[type(self.module.likelihood)], update_of(net.optimizer_)
        self.generator = net.noise_generator

    def parts(
        self, rows: Batch, y: Tensor, eps: Tensor
    ) -> tuple[float, float, Tensor, Share, tuple]:
        """Both parts of the loss, its gradient by what the decoder gives, and what led there."""
        numbers, share = self.encoder(rows.x), share_of(rows)
        q = self.module.posterior(numbers, self.module.n_components)
        noise = q.color(eps)
        nats, grad = self.loss_of(self.module.likelihood, self.decoder(q.mean + noise), y, share)
        kl = total(q.kl_per_component(), share)
        return nats, kl, grad, share, (q, numbers, eps, noise)

    def gradients(self, rows: Batch, y: Tensor, eps: Tensor, kl_weight: float) -> float:
        """Write the gradients of all parameters; return the loss."""
        nats, kl, grad, share, kept = self.parts(rows, y, eps)
        grad = to_numbers(*kept, self.decoder.backward(grad), kl_weight * share)
        self.encoder.backward(grad, to_input=False)
        return nats + kl_weight * kl

    def __call__(self, batch: tuple[Batch, Tensor], **fit_params: Any) -> dict:
        """Train on a batch."""
        objective = self.net.criterion_
        weight = objective.beta * objective.warmup
        result = self._on(batch, self.generator, partial(self.gradients, kl_weight=weight))
        self.update()
        return result

    def validate(self, batch: tuple[Batch, Tensor]) -> dict:
        """The loss of a batch, with the KL's full weight."""
        net, beta = self.net, self.net.criterion_.beta

        def loss_of(rows: Batch, *given: Any) -> float:
            nats, kl, *_ = self.parts(rows, *given)
            net._terms.add((nats + net.log_scale, kl), rows.total)
            return nats + beta * kl

        return self._on(batch, net._streams.validation, loss_of)

    def _on(
        self,
        batch: tuple[Batch, Tensor],
        generator: torch.Generator,
        function: Callable[..., float],
    ) -> dict:
        """What a function of rows, targets and deviates gives for a batch."""
        net, rows, y = self.net, Batch.of(batch[0]), batch[1]
        eps = torch.randn(net.shape_of_deviates(len(y)), generator=generator, dtype=y.dtype)
        with torch.inference_mode():
            loss = function(rows, y, eps)
        return {"loss": loss + net.log_scale}


def kind_of(network: nn.Module) -> type | None:
    """What computes what a network does, if all of it learns: a class, or None."""
    if not all(p.requires_grad for p in network.parameters()):
        return None
    if is_convolutional(network):
        return ImageNetwork
    return Network if is_perceptron(network) else None


def are_written(module: nn.Module) -> bool:
    """Whether it is known what computes what both networks of a module do."""
    return type(module) is VAE and all(map(kind_of, (module.encoder, module.decoder)))


def step_for(net: NeuralNet, step_fn: Callable | None) -> Callable | None:
    """A `WrittenStep` where it does what a net's steps do; ``step_fn`` elsewhere."""
    module, optimizer, objective = net.module_, net.optimizer_, net.criterion_
    written = (
        is_known(net)
        and (str(net.device), net.autocast, objective.n_draws) == ("cpu", None, 1)
        and type(module.prior) is StandardNormal
        and type(objective) is ELBO
        and type(optimizer) in (AdamW, torch.optim.AdamW, SOAP)
        and module.posterior in POSTERIORS.values()
        and type(module.likelihood) in LOSSES
        and not objective.free_bits
        and (module.likelihood.noise is None or module.likelihood.noise.is_constant)
        and are_written(module)
    )
    return WrittenStep(net) if written else step_fn
