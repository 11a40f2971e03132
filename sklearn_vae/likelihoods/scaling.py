"""What columns of real numbers are centred and scaled by."""

import numpy as np

from .base import Columns

WIDEST_RANGE, NARROWEST_RANGE = 5.0, 0.05  # of columns in one unit, over the median range


def centre_and_scale(columns: Columns, standardize: bool | str) -> tuple[np.ndarray, np.ndarray]:
    """What columns are centred and scaled by, (n_features,) each.

    Constant columns have no density and are left out of the model: their scale is 0 and their mean
    the constant. If every column is constant, none is left out.

    Parameters
    ----------
    columns : Columns
    standardize : bool or "auto"
        True scales each column by its own standard deviation; "auto" all by one where they share a
        unit (`share_a_unit`); False leaves them as they are.
    """
    mean, variance, lowest, highest = columns
    # A column without any value has NaN for its range, and is left out as well.
    constant = ~vary(lowest, highest)
    varies = ~constant if not constant.all() else constant
    scale = np.where(constant, 1.0, np.sqrt(variance))
    if not standardize:
        mean, scale = np.zeros_like(mean), np.ones_like(scale)
    elif standardize == "auto" and share_a_unit((highest - lowest)[varies]):
        scale[:] = np.sqrt(np.mean(scale[varies] ** 2))
    return np.where(varies, mean, lowest), np.where(varies, scale, 0.0)


def vary(lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """Whether columns have a range (n_features,) that is more than rounding."""
    largest = np.maximum(abs(lowest), abs(highest))
    return highest - lowest > 4 * np.finfo(np.float64).eps * largest


def share_a_unit(ranges: np.ndarray) -> bool:
    """Whether columns of these ranges (n_features,) are taken to be in one unit.

    None is far wider than most, and few are far narrower.
    """
    middle = np.median(ranges)
    return (
        ranges.max() <= WIDEST_RANGE * middle
        and np.quantile(ranges, 0.1) >= NARROWEST_RANGE * middle
    )
