"""The base of the estimators: scikit-learn's methods over a skorch net that is held.

It is not inherited.
"""

import inspect
import warnings
from numbers import Integral, Real

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..likelihoods import LIKELIHOODS, Likelihood
from ..networks import ACTIVATIONS
from ..objectives import OBJECTIVES, Objective
from ..posteriors import POSTERIORS
from ..training import (
    carries_functions,
    check_picklable,
    load_history,
    load_net_state,
    net_state,
    one_thread_after_fork,
    resolve_device,
)
from .evaluation import Evaluation
from .fitting import Fitting
from .imputation import Imputation
from .links import DocumentationLink
from .loadings import Loadings
from .net import Spec, build_net, made


def _name_methods(mixin):
    """Let Python's own errors name a method as its caller does, without the class that it is in."""
    for name, function in vars(mixin).items():
        if inspect.isfunction(function) and not name.startswith("_"):
            inspect.unwrap(function).__qualname__ = name


_name_methods(Fitting)
_name_methods(Evaluation)
_name_methods(Imputation)
_name_methods(Loadings)


class BaseVAE(Fitting, Evaluation, Imputation, Loadings, DocumentationLink, BaseEstimator):
    """What both estimators share: everything but the posterior's families."""

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions({"auto", *ACTIVATIONS})],
        "encoder": [callable, None],
        "decoder": [callable, None],
        "image_shape": ["array-like", None],
        "n_filters": ["array-like"],
        "likelihood": [StrOptions(set(LIKELIHOODS)), Likelihood, list],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "handle_unknown": [StrOptions({"error", "ignore"})],
        "covariance_type": [StrOptions(set(POSTERIORS)), type],
        "objective": [StrOptions(set(OBJECTIVES)), Objective],
        "init": [StrOptions({"auto", "random"})],
        "standardize": [StrOptions({"auto"}), "boolean"],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "early_stopping": [StrOptions({"auto"}), "boolean", HasMethods(["split", "get_n_splits"])],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "device": [str],
        "net_class": [type, None],
        "net_params": [dict, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components=2,
        *,
        hidden_layer_sizes=(96, 96),
        activation="auto",
        encoder=None,
        decoder=None,
        image_shape=None,
        n_filters=(8, 16),
        likelihood="gaussian",
        categorical_features="from_dtype",
        handle_unknown="error",
        covariance_type="diag",
        objective="elbo",
        init="auto",
        standardize="auto",
        learning_rate_init=6e-3,
        batch_size="auto",
        alpha=0.0,
        max_iter=500,
        max_time=None,
        tol=1e-4,
        n_iter_no_change="auto",
        early_stopping="auto",
        validation_fraction=0.1,
        warm_start=False,
        device="auto",
        net_class=None,
        net_params=None,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.encoder = encoder
        self.decoder = decoder
        self.image_shape = image_shape
        self.n_filters = n_filters
        self.likelihood = likelihood
        self.categorical_features = categorical_features
        self.handle_unknown = handle_unknown
        self.covariance_type = covariance_type
        self.objective = objective
        self.init = init
        self.standardize = standardize
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.alpha = alpha
        self.max_iter = max_iter
        self.max_time = max_time
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.device = device
        self.net_class = net_class
        self.net_params = net_params
        self.random_state = random_state
        self.verbose = verbose

    def set_params(self, **params):
        """Set parameters, also those of parts.

        Parameters
        ----------
        **params : dict
            Names and values. ``objective__beta=4`` is the parameter `beta` of the objective. If the
            objective is a name, such as "elbo", the object of that name takes its place.

        Returns
        -------
        self : object
            The estimator.
        """
        for name, family in {"likelihood": LIKELIHOODS, "objective": OBJECTIVES}.items():
            part = params.get(name, getattr(self, name))
            nested = any(key.startswith(f"{name}__") for key in params)
            if nested and isinstance(part, str) and part in family:
                params[name] = made(part, family)
        return super().set_params(**params)

    @property
    def device_(self):
        """The `torch.device` that the fitted model is on."""
        check_is_fitted(self)
        return next(self.net_.module_.parameters()).device

    @property
    def _n_features_out(self):
        return self.net_.module_.n_components

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

    # --- plain data -------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol):
        if not carries_functions():
            check_picklable(self, self._each_parameter())
        return super().__reduce_ex__(protocol)

    def _each_parameter(self):
        """Names and values of the parameters as they are now, and as the fit had them."""
        for values in (vars(self), vars(self).get("_spec", {})):
            for name in self._get_param_names():
                value = values.get(name)
                if name == "net_params" and isinstance(value, dict):
                    yield from ((f"net_params[{key!r}]", part) for key, part in value.items())
                else:
                    yield name, value

    def __getstate__(self):
        state = super().__getstate__().copy()
        net = state.pop("net_", None)
        # The net comes last, as it does in a model that was loaded.
        return state if net is None else {**state, "net_": net_state(net)}

    def __setstate__(self, state):
        learned = state.get("net_")
        one_thread_after_fork()
        with self._unchanged_on_failure():
            super().__setstate__({name: value for name, value in state.items() if name != "net_"})
            if learned is not None:
                device = self._device_to_load_on()
                spec = Spec.of(self._spec, self._table)
                self.net_ = build_net(spec, self.scale_, device, 0, self._missing_filled_by())
                load_net_state(self.net_, learned)
                load_history(self.net_, learned)
                self.net_.module_.eval()

    def _device_to_load_on(self):
        try:
            return resolve_device(self._spec["device"])
        except ValueError as error:
            warnings.warn(f"{error} The model is loaded on the CPU.", UserWarning, stacklevel=4)
            return torch.device("cpu")
