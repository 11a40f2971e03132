"""
=================
Parts of your own
=================

A likelihood, a network, a posterior and an objective, each written here and given to an estimator.
The :ref:`User Guide <extending>` says what each of them has to state.
"""

import numpy as np
from sklearn.datasets import load_wine
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sklearn_vae.datasets import make_sine_sum

rng = np.random.RandomState(0)
tails = rng.standard_normal((600, 2)) @ rng.standard_normal((2, 8))
tails += 0.3 * rng.standard_t(3, size=tails.shape)
surface = make_sine_sum(1000, noise=0.05, random_state=0, surface=True)
wine = StandardScaler().fit_transform(load_wine().data)

# %%
# A likelihood
# ------------
#
# Student's t around the mean, for data whose noise has heavy tails.

import torch

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import LocationScale


class StudentT(LocationScale):
    """Noise with the tails of Student's t; its variance is the noise variance."""

    def __init__(self, df=5.0, noise_variance="shared", noise_growth="auto"):
        super().__init__(noise_variance, noise_growth)
        self.df = df

    def check(self):
        super().check()
        if not self.df > 2:
            raise ValueError(f"df must be above 2, for a finite variance; got {self.df!r}.")

    def forward(self, numbers, z=None):
        variance = torch.exp(self.noise.log_variance_at(z))
        scale = torch.sqrt(variance * (self.df - 2) / self.df)
        return torch.distributions.StudentT(self.df, numbers, scale, validate_args=False)


train, test = train_test_split(tails, random_state=0)
for likelihood in ("gaussian", StudentT(df=3.0)):
    vae = VAETransformer(2, likelihood=likelihood, random_state=0).fit(train)
    print(f"{likelihood}: {vae.score(test):.2f} nats per row held out")

# %%
# The noise of these data has the tails of Student's t with three degrees of freedom. The errors of
# the reconstruction show it.

import matplotlib.pyplot as plt
from scipy import stats

errors = (test - vae.inverse_transform(vae.transform(test))).ravel()
grid = np.linspace(-3, 3, 200)
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.hist(errors, bins=120, range=(-3, 3), density=True, color="lightgrey", label="errors")
ax.plot(grid, stats.norm.pdf(grid, 0, errors.std()), label="Gaussian")
ax.plot(grid, stats.t.pdf(grid, *stats.t.fit(errors, floc=0)), label="Student's t")
ax.set(yscale="log", ylim=(1e-3, 3), xlabel="x - E[x | z]", ylabel="density")
ax.legend()
plt.show()

# %%
# A network
# ---------
#
# Blocks that add to what they are given.

from torch import nn


class Residual(nn.Module):
    """A network of residual blocks."""

    def __init__(self, n_in, n_out, width=64, n_blocks=2):
        super().__init__()
        self.first, self.last = nn.Linear(n_in, width), nn.Linear(width, n_out)
        blocks = (nn.Sequential(nn.SiLU(), nn.Linear(width, width)) for _ in range(n_blocks))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        """Map (n, n_in) to (n, n_out)."""
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


vae = VAETransformer(2, encoder=Residual, decoder=Residual, random_state=0)
rebuilt = vae.inverse_transform(vae.fit_transform(surface))
print(f"R² of a curved surface, rebuilt from two components: {r2_score(surface, rebuilt):.3f}")

# %%
# A posterior
# -----------
#
# Variances in geometric progression over the components, by two numbers in the place of d.

from sklearn_vae.posteriors import Diagonal, Posterior, Spherical, log_variance_from, number_for


class Geometric(Posterior):
    """L = diag(sigma) with log sigma_j^2 = level + slope (j - (d - 1) / 2), where below 0."""

    n_variances = n_others = staticmethod(lambda n_components: 1)

    def read(self, others):
        level, slope, d = self.log_variance, others, self.mean.shape[-1]
        j = torch.arange(d, device=others.device)
        self.log_variance = log_variance_from(level + slope * (j - (d - 1) / 2))
        self.scale = torch.exp(0.5 * self.log_variance)

    def color(self, eps):
        return self.scale * eps

    def whiten(self, v):
        return v / self.scale

    @staticmethod
    def closest_to(eigenvalues):
        numbers = number_for(torch.log(torch.from_numpy(eigenvalues))).numpy()
        j = np.arange(len(numbers)) - (len(numbers) - 1) / 2
        return np.eye(len(j)), np.array([numbers.mean(), j @ numbers / max(j @ j, 1)])

    @classmethod
    def order(cls, explained):
        return np.arange(len(explained))  # as it is: the progression has a direction


params = {"hidden_layer_sizes": (), "random_state": 0}  # linear, so that only the bounds differ
for family in (Spherical, Geometric, Diagonal):
    vae = VAETransformer(4, covariance_type=family, **params).fit(wine)
    print(f"{family.__name__}: a bound of {vae.elbo(wine).mean():.2f} nats per row")

# %%
# An objective
# ------------
#
# The KL is drawn to a capacity C that grows from 0 as training goes on (Burgess et al. 2018).

from sklearn_vae.objectives import Objective, reconstruction


class Capacity(Objective):
    """E_q[log p(x | z)] - gamma |KL - C|."""

    def __init__(self, capacity=4.0, gamma=20.0, kl_warmup=50):
        super().__init__()
        self.capacity = capacity
        self.gamma = gamma
        self.kl_warmup = kl_warmup

    def forward(self, output, rows):
        capacity = self.capacity * (self.warmup if self.training else 1.0)
        away = (output.q.kl().mean() - capacity).abs()
        return reconstruction(output, rows) - self.gamma * away


for capacity in (2.0, 4.0):
    vae = VAETransformer(2, objective=Capacity(capacity), random_state=0).fit(wine)
    print(f"capacity {capacity}: KL {vae.elbo(wine, split=True).kl.mean():.2f} nats per row")

# %%
# All of them
# -----------

vae = VAETransformer(
    3,
    likelihood=StudentT(df=3.0),
    encoder=Residual,
    decoder=Residual,
    covariance_type=Geometric,
    objective=Capacity(),
    random_state=0,
)
print(vae.fit(train).transform(test).shape)
