"""A trained net as plain data, and back.

What is pickled holds arrays, numbers and strings, and runs no code.
"""

import io
import pickle
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet

STATE_FORMAT = 2
NOT_LEARNED = "batches", "dur"  # of an epoch's history: the second would tell equal fits apart


def _plain(value: Any) -> Any:
    """Tensors to arrays, all through a nest of dicts and lists."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy().copy()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _tensors(value: Any) -> Any:
    """The inverse of `_plain`; arrays are copied, so they may be read-only."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    return (
        {key: _tensors(item) for key, item in value.items()} if isinstance(value, dict) else value
    )


def _without(epoch: dict, keys: tuple) -> dict:
    return {key: value for key, value in epoch.items() if key not in keys}


def net_state(net: NeuralNet) -> dict:
    """What a net has learned, as arrays, numbers and strings.

    Returns
    -------
    dict
        "format" (int); "module", an array for each weight; "optimizer", arrays for each weight;
        "history", a dict of numbers for each epoch.
    """
    return {
        "format": STATE_FORMAT,
        "module": _plain(net.module_.state_dict()),
        "optimizer": _plain(net.optimizer_.state_dict()["state"]),
        "history": [_without(epoch, NOT_LEARNED) for epoch in net.history],
    }


def load_net_state(net: NeuralNet, state: dict) -> None:
    """Give an initialised net of the same architecture what `net_state` took from another.

    The optimizer's moments are taken over, its settings (learning rate ...) stay the net's own.

    Raises
    ------
    ValueError
        If a weight is missing, left over, misshapen or not finite, or the format is unknown.
    """
    if state.get("format") != STATE_FORMAT:
        raise ValueError(
            f"The saved model has format {state.get('format')!r}; this version reads "
            f"{STATE_FORMAT}."
        )
    expected, given = net.module_.state_dict(), state["module"]
    if expected.keys() != given.keys():
        names = ", ".join(sorted(expected.keys() ^ given.keys()))
        raise ValueError(
            f"The saved model does not fit its parameters: weights missing or left over: {names}."
        )
    for name, weight in expected.items():
        if tuple(weight.shape) != np.shape(given[name]):
            raise ValueError(
                f"The saved weight {name} has shape {np.shape(given[name])}, not "
                f"{tuple(weight.shape)}."
            )
        if not np.all(np.isfinite(given[name])):
            raise ValueError(
                f"The saved weight {name} has values that are not finite: the file is damaged."
            )
    net.module_.load_state_dict(_tensors(given))
    own = net.optimizer_.state_dict()
    net.optimizer_.load_state_dict({**own, "state": _tensors(state["optimizer"])})


def load_history(net: NeuralNet, state: dict) -> None:
    """Give a net the history that `net_state` took from another."""
    for epoch in state["history"]:
        net.history.new_epoch()
        net.history[-1].update(epoch)


def carries_functions() -> bool:
    """Whether the caller was called to be copied, or by a pickler that carries lambdas.

    An object is not told by what it is pickled. The stack shows it.
    """
    frame = sys._getframe()
    while frame is not None:
        package, *inner = frame.f_globals.get("__name__", "").split(".")
        if package in ("copy", "dill") or "cloudpickle" in (package, *inner):
            return True
        frame = frame.f_back
    return False


class _Probe(pickle.Pickler):
    """Pickles an object for nothing, and no model that it may refer to."""

    def __init__(self, model: object):
        super().__init__(io.BytesIO())
        self.model = model

    def persistent_id(self, obj: object) -> int | None:
        return 0 if obj is self.model else None


def check_picklable(model: object, parameters: Iterable) -> None:
    """Refuse parameters that `pickle` cannot carry.

    Parameters
    ----------
    model : object
        Whose parameters they are.
    parameters : iterable of (str, object)
        Names and values.

    Raises
    ------
    pickle.PicklingError
        Naming the parameter and the remedy.
    """
    for name, value in parameters:
        try:
            _Probe(model).dump(value)
        except Exception as error:
            raise pickle.PicklingError(
                f"{type(model).__name__} cannot be pickled because of its parameter {name} "
                f"({error}). Functions and classes in parameters have to be importable, so "
                "defined at the top level of a module and not by a lambda or within a function; "
                "or pickle the model with cloudpickle, which carries others as well."
            ) from error
