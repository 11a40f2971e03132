r"""Linear models of rows in which values are missing, and what those models put in their place.

Let o be the observed entries of a row of the model x = W z + b + noise, z ~ N(0, I), noise ~
N(0, Psi) (`linear.py`). Under missingness at random all that a row tells is

    z | x_o ~ N(m, S),   S = (I + W_o^T Psi_o^-1 W_o)^-1,   m = S W_o^T Psi_o^-1 (x_o - b_o).

**EM** (Rubin & Thayer 1982; Tipping & Bishop 1999, section 3.3). The E-step finds m and S of each
row. The M-step regresses each feature j on (z, 1) over the rows that have it, with the second
moments S + m m^T of z. psi_j is the mean squared residual. For probabilistic PCA it is pooled over
all observed entries. The observed-data likelihood never falls. Every two steps are extrapolated
(SQUAREM, Varadhan & Roland 2008), and a third step starts there if the likelihood is higher.

**L-BFGS.** EM comes near the maximum soon and reaches it late, above all where a noise tends to 0.
A linear net has nothing else to learn, so its model is then climbed to the maximum by L-BFGS in
(w_j, b_j) and log psi_j. The gradients are those of EM's expected log-likelihood (Fisher's
identity).

**Prior.** With many components and few rows the model of greatest likelihood follows chance, and
its noise is too small by the degrees of freedom that the loadings take. So with noise per feature,
where networks follow, the regressions of the M-step are Bayesian (MacKay 1992). With v_j the
variance of feature j, its loadings have the prior N(0, v_j / d I), under which d components explain
as much variance as there is. M_j are the summed moments of (z, 1), b_j has no prior, and gamma_j
degrees of freedom are used:

    G_j = M_j + d psi_j / v_j I,   w_j = G_j^-1 sum x_j (z, 1),   gamma_j = tr M_j G_j^-1,
    n_j psi_j <- sum of squared residuals + gamma_j psi_j.

With rows held out, EM ends where their likelihood falls, with a prior or without.

**Filling.** A missing value is filled with its conditional mean w_j^T m + b_j. A complete row's
posterior mean is linear in x, so that of a filled row is m: an encoder that starts at the linear
model of complete rows is exact for incomplete ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import svd
from scipy.optimize import Bounds, minimize

from ..likelihoods import SMALLEST_NOISE
from .linear import LinearModel, linear_model
from .moments import Moments

GAUSSIAN = "probabilistic_pca", "factor_analysis", "known_noise"
FEWEST = 5  # rows held out
PATIENCE = 10  # cycles in which their likelihood may fall
MOST_CYCLES = 500  # of three EM steps
LEAST_GAIN = 3e-5  # nats per row and cycle, at which EM ends
EXACTLY = {"maxiter": 2000, "maxfun": 4000, "maxcor": 50, "ftol": 1e-13, "gtol": 1e-8}  # L-BFGS
LEAST_NOISE = 1e-6  # of a feature's variance
LEAST_PRIOR = 1e-6  # precision of the loadings over the noise, where there is no other prior


def incomplete_model(
    name: str,
    x: np.ndarray,
    n_components: int,
    noise_variance: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    x_valid: np.ndarray | None = None,
    tol: float = LEAST_GAIN,
    has_prior: bool = False,
    exact: bool = False,
) -> LinearModel:
    """The linear model of rows with missing values, of maximum likelihood or with a prior.

    Parameters
    ----------
    name : str
        In `sklearn_vae.selection.LINEAR_MODELS`.
    x : ndarray of shape (n, n_features)
        NaN where a value is missing.
    n_components : int

    noise_variance : ndarray of shape (n_features,), optional
        The fixed values of "known_noise".
    weight : ndarray of shape (n,), optional

    x_valid : ndarray of shape (n_valid, n_features), optional
        Rows held out: EM ends when their likelihood keeps falling, and goes back to the best.
    tol : float
        Nats per row, gained by three steps, at which EM ends.
    has_prior : bool
        Whether the loadings have the prior above.
    exact : bool
        Whether L-BFGS goes on to the greatest likelihood. It knows no prior and no rows held out.

    Returns
    -------
    LinearModel
    """
    if name not in GAUSSIAN:
        return linear_model(name, incomplete_moments(x, weight), n_components, seed=0)
    observed = ~np.isnan(x)
    model = _first_guess(x, observed, n_components)
    if name == "known_noise":
        model = model._replace(noise_variance=noise_variance)
    variance = np.nanvar(x, axis=0)
    prior = n_components / np.maximum(variance, SMALLEST_NOISE) if has_prior else None
    least = np.maximum(LEAST_NOISE * variance, SMALLEST_NOISE)
    least = least if name != "probabilistic_pca" else np.full_like(least, least.mean())
    x, o, before = np.where(observed, x, 0.0), observed.astype(np.float64), -np.inf
    best, held_out, misses, how = model, -np.inf, 0, (name, weight, least, prior)
    for _ in range(MOST_CYCLES):
        second, _ = _em_step(model, x, o, *how)
        third, log_likelihood = _em_step(second, x, o, *how)
        far = _extrapolated((model, second, third), least)
        stable, of_far = _em_step(far, x, o, *how)
        model = stable if of_far > log_likelihood else third
        now = log_likelihood if x_valid is None else mean_log_likelihood(model, x_valid)
        misses = 0 if now > held_out else misses + 1
        if not misses:
            best, held_out = model, now
        if log_likelihood - before < tol or misses > PATIENCE:
            break
        before = log_likelihood
    return _greatest_likelihood(best, x, o, name, weight, least) if exact else best


def _greatest_likelihood(
    model: LinearModel,
    x: np.ndarray,
    o: np.ndarray,
    name: str,
    weight: np.ndarray | None,
    least: np.ndarray,
) -> LinearModel:
    """Where L-BFGS climbs to from a model."""
    D, d = model.loadings.shape
    squares, count, total = _totals(x, o, weight)
    first = [np.hstack([model.loadings, model.mean[:, None]]).ravel()]
    if name != "known_noise":
        log_psi = np.log(model.noise_variance)
        first.append(log_psi[:1] if name == "probabilistic_pca" else log_psi)
    sizes = [len(part) for part in first]

    def unpacked(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        W, *log_psi = np.split(numbers, np.cumsum(sizes)[:-1])
        psi = np.exp(log_psi[0]) * np.ones(D) if log_psi else model.noise_variance
        return W.reshape(D, d + 1), psi

    def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        W, psi = unpacked(numbers)
        nats, moments, products = _expected(LinearModel(W[:, :d], W[:, d], psi), x, o, weight)
        of_W = np.einsum("jab,jb->ja", moments, W)
        rest = squares + (W * (of_W - 2 * products)).sum(axis=1)
        of_log_psi = (count - rest / psi) / 2
        if name == "probabilistic_pca":
            of_log_psi = of_log_psi.sum(keepdims=True)
        gradients = ((of_W - products) / psi[:, None]).ravel(), of_log_psi
        return -nats, np.concatenate(gradients[: len(sizes)]) / total

    lowest = np.concatenate([np.full(D * (d + 1), -np.inf), np.log(least)])[: sum(sizes)]
    how = {"method": "L-BFGS-B", "bounds": Bounds(lowest, np.inf), "options": EXACTLY}
    found = minimize(loss, np.concatenate(first), jac=True, **how)
    W, psi = unpacked(found.x)
    return LinearModel(W[:, :d], W[:, d], psi)


def _extrapolated(models: Sequence[LinearModel], least: np.ndarray) -> LinearModel:
    """Where three models in a row, each an EM step from the one before, seem to lead (SQUAREM)."""
    one, two, three = (np.hstack([W, b[:, None], np.log(psi)[:, None]]) for W, b, psi, *_ in models)
    r, v = two - one, three - 2 * two + one
    size = max(np.sqrt((r**2).sum() / max((v**2).sum(), 1e-300)), 1.0)
    W, b, log_psi = np.split(one + 2 * size * r + size**2 * v, [-2, -1], axis=1)
    psi = np.exp(log_psi[:, 0].clip(max=50))
    return LinearModel(W, b[:, 0], np.maximum(psi, least))


def _first_guess(x: np.ndarray, observed: np.ndarray, n_components: int) -> LinearModel:
    """PCA of the rows, their missing values at the mean."""
    n, D = x.shape
    count = np.maximum(observed.sum(axis=0), 1)
    mean = np.where(observed, x, 0).sum(axis=0) / count
    _, values, vectors = svd(np.where(observed, x, mean) - mean, full_matrices=False)
    values, d = values**2 / n, min(n_components, len(values))
    noise = values[d:].mean() if d < len(values) else 0.1 * values[-1]
    noise = max(noise, 1e-3 * values.mean(), SMALLEST_NOISE)
    loadings = np.zeros((D, n_components))
    loadings[:, :d] = vectors[:d].T * np.sqrt(np.maximum(values[:d] - noise, 0.1 * noise))
    return LinearModel(loadings, mean, np.full(D, noise))


def _posterior(
    model: NamedTuple, x: np.ndarray, o: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each row: m (n, d), S and S^-1 (n, d, d), and x - b where it was observed."""
    W, b, psi = model[:3]
    d, weighed = W.shape[1], W / psi[:, None]
    outer = (weighed[:, :, None] * W[:, None, :]).reshape(len(b), d * d)
    precision = (o @ outer).reshape(-1, d, d) + np.eye(d)
    S, away = np.linalg.inv(precision), (x - b) * o
    return np.einsum("nij,nj->ni", S, away @ weighed), S, precision, away


def _mean_nats(
    model: LinearModel,
    m: np.ndarray,
    precision: np.ndarray,
    away: np.ndarray,
    o: np.ndarray,
    weight: np.ndarray | None = None,
) -> float:
    """The mean log-likelihood of rows, by what `_posterior` gives for them."""
    psi = model.noise_variance
    squares = away**2 @ (1 / psi) - (m * (away @ (model.loadings / psi[:, None]))).sum(axis=1)
    log_det = np.linalg.slogdet(precision)[1] + o @ np.log(2 * np.pi * psi)
    return -0.5 * np.average(squares + log_det, weights=weight)


def mean_log_likelihood(model: LinearModel, x: np.ndarray) -> float:
    """Of rows x (n, n_features) with NaN, in nats."""
    o = (~np.isnan(x)).astype(np.float64)
    m, _, precision, away = _posterior(model, np.nan_to_num(x), o)
    return _mean_nats(model, m, precision, away, o)


def _totals(x: np.ndarray, o: np.ndarray, weight: np.ndarray | None) -> tuple:
    """Of each feature its sum of squares and its number of entries, and the number of rows."""
    weight = np.ones(len(x)) if weight is None else weight
    return weight @ (x**2 * o), np.maximum(weight @ o, 1), weight.sum()


def _expected(
    model: LinearModel, x: np.ndarray, o: np.ndarray, weight: np.ndarray | None
) -> tuple[float, np.ndarray, np.ndarray]:
    """The mean log-likelihood in nats, and what EM expects of each feature's rows.

    These are the summed moments of (z, 1), (n_features, d + 1, d + 1), and the summed products of
    x_j and (z, 1), (n_features, d + 1).
    """
    (n, D), d = x.shape, model.loadings.shape[1]
    m, S, precision, away = _posterior(model, x, o)
    log_likelihood = _mean_nats(model, m, precision, away, o, weight)
    o = o if weight is None else o * weight[:, None]
    z = np.hstack([m, np.ones((n, 1))])
    moments = z[:, :, None] * z[:, None, :]
    moments[:, :d, :d] += S
    return log_likelihood, (o.T @ moments.reshape(n, -1)).reshape(D, d + 1, d + 1), (x * o).T @ z


def _em_step(
    model: LinearModel,
    x: np.ndarray,
    o: np.ndarray,
    name: str,
    weight: np.ndarray | None = None,
    least: float | np.ndarray = SMALLEST_NOISE,
    prior: np.ndarray | None = None,
) -> tuple[LinearModel, float]:
    """The model after a step of EM, and the mean log-likelihood of the rows before it, in nats.

    `prior` is d / v_j of each feature.
    """
    D, d = model.loadings.shape
    log_likelihood, moments, products = _expected(model, x, o, weight)
    squares, count, _ = _totals(x, o, weight)
    psi = model.noise_variance
    ridge = np.maximum(0 if prior is None else prior * psi, LEAST_PRIOR * np.ones(D))
    G = moments + ridge[:, None, None] * np.eye(d + 1) * np.append(np.ones(d), 1e-6)
    W = np.linalg.solve(G, products[:, :, None])[:, :, 0]
    if name != "known_noise":
        rest = np.maximum(squares - (W * products).sum(axis=1), 0)
        if prior is not None:
            rest = rest - ridge * (W[:, :d] ** 2).sum(axis=1)
            rest = rest + psi * np.trace(np.linalg.solve(G, moments), axis1=1, axis2=2)
        shared = name == "probabilistic_pca"
        psi = np.full(D, rest.sum() / count.sum()) if shared else rest / count
        psi = np.maximum(psi, least)
    return LinearModel(W[:, :d], W[:, d], psi), log_likelihood


class Filling(NamedTuple):
    """What stands in the place of missing values: the conditional means of a linear model.

    Attributes
    ----------
    loadings : ndarray of shape (n_features, d)
        W; d is 0 where each feature's mean is all there is.
    mean : ndarray of shape (n_features,)
        b.

    noise_variance : ndarray of shape (n_features,)
        diag Psi.
    share : ndarray of shape (n_features,)
        Share of the rows that have a feature.
    """

    loadings: np.ndarray
    mean: np.ndarray
    noise_variance: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, likelihood, x: np.ndarray, n_components: int, weight=None) -> "Filling":
        """By the linear model that a likelihood names, of rows x (n, n_features) with NaN."""
        name = likelihood.linear_model
        share = np.average(~np.isnan(x), axis=0, weights=weight)
        name = {"known_noise": "factor_analysis"}.get(name, name)
        if name not in GAUSSIAN:
            return cls(np.zeros((x.shape[1], 0)), likelihood.typical(x), np.ones_like(share), share)
        if likelihood.linear_model == "factor_analysis":
            model = incomplete_model(name, x, n_components, weight=weight, has_prior=True)
            return cls(*model[:3], share)
        held_out = np.arange(len(x)) % 10 == 9
        if held_out.sum() < FEWEST:
            held_out[:] = False
        some = None if weight is None else weight[~held_out]
        rest = x[held_out] if held_out.any() else None
        model = incomplete_model(name, x[~held_out], n_components, weight=some, x_valid=rest)
        return cls(*model[:3], share)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Rows x (n, n_features) without NaN."""
        incomplete = np.flatnonzero(np.isnan(x).any(axis=1))
        out, rows = x.copy(), x[incomplete]
        missing = np.isnan(rows)
        rebuilt = np.broadcast_to(self.mean, rows.shape)
        if self.loadings.shape[1] and len(rows):
            m = _posterior(self, np.where(missing, 0.0, rows), (~missing).astype(np.float64))[0]
            rebuilt = m @ self.loadings.T + self.mean
        out[incomplete] = np.where(missing, rebuilt, rows)
        return out


def incomplete_moments(x: np.ndarray, weight: np.ndarray | None = None) -> Moments:
    """Moments of rows x (n, n_features) with NaN, of each pair of features where both are known."""
    observed, w = ~np.isnan(x), np.ones(len(x)) if weight is None else weight
    tiny = np.finfo(np.float64).tiny
    o, known = observed.astype(np.float64), np.where(observed, x, 0.0)
    count = np.maximum(w @ o, tiny)
    mean = w @ known / count
    away = np.where(observed, x - mean, 0.0)
    covariance = (away.T * w) @ away / np.maximum((o.T * w) @ o, tiny)
    mean_log = w @ np.log1p(np.maximum(known, 0)) / count
    lowest, highest = (f.reduce(x, axis=0) for f in (np.fmin, np.fmax))
    return Moments(w.sum(), mean, covariance, mean_log, lowest, highest)
