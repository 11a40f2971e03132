"""What likelihoods and objectives have in common: scikit-learn can clone them and set parameters.

A part is made with parameters, as a kernel of scikit-learn's Gaussian processes is, and stores each
under its own name. An estimator takes it in place of a name, never changes it, and trains a copy.
"""

import inspect
from numbers import Integral, Real
from typing import Any, NoReturn


class Part:
    """Something that is made with parameters, which it stores under their own names."""

    @classmethod
    def _defaults(cls) -> dict:
        """Names and defaults of what the constructor takes."""
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def get_params(self, deep: bool = True) -> dict:
        """Names and values of the parameters."""
        return {name: getattr(self, name) for name in self._defaults()}

    def set_params(self, **params: Any) -> "Part":
        """Set parameters by name.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        known = self._defaults()
        for name, value in params.items():
            if name not in known:
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}. It has: "
                    f"{', '.join(known) or 'none'}."
                )
            setattr(self, name, value)
        return self

    def check(self) -> None:
        """Raise a ValueError if a parameter has a value that it must not have."""

    def refuse(self, name: str, wanted: str) -> NoReturn:
        """Raise a ValueError that says what a parameter must be, and what it is."""
        raise ValueError(
            f"The {name!r} parameter of {type(self).__name__} must be {wanted}. Got "
            f"{getattr(self, name)!r} instead."
        )

    def check_number(
        self, name: str, least: float, *, strictly: bool = False, integer: bool = False
    ) -> None:
        """Refuse what is no finite number, or below `least`, or `strictly` equal to it."""
        value, kind = getattr(self, name), Integral if integer else Real
        fits = isinstance(value, kind) and not isinstance(value, bool) and least <= value < 1e300
        if not fits or (strictly and value == least):
            what = "an integer" if integer else "a number"
            self.refuse(name, f"{what} {'above' if strictly else 'of at least'} {least:g}")

    def __repr__(self) -> str:
        given = [
            f"{name}={getattr(self, name)!r}"
            for name, default in self._defaults().items()
            if getattr(self, name) is not default and getattr(self, name) != default
        ]
        return f"{type(self).__name__}({', '.join(given)})"
