"""Model selection: where training starts, which start wins, and how large the noise is in the end.

* `linear.py`: the linear models that training starts at.
* `moments.py`: what a stream of rows leaves behind for them.
* `multistart.py`: from the starts to the net that is kept.
* `order.py`: the order and the signs of the components.
* `noise.py`: the noise variance, by what the networks make of rows that they have not seen.
"""

from .linear import (
    SMALLEST_NOISE,
    count_model,
    linear_model,
    plainly_fitted,
    projection,
    raise_noise_to,
    release_noise,
    sharp_model,
    start_at,
)
from .moments import MOST_FEATURES, Moments
from .multistart import JUDGED, Trainer, best_net
from .order import put_in_order

__all__ = [
    "JUDGED",
    "MOST_FEATURES",
    "SMALLEST_NOISE",
    "Moments",
    "Trainer",
    "best_net",
    "count_model",
    "linear_model",
    "plainly_fitted",
    "projection",
    "put_in_order",
    "raise_noise_to",
    "release_noise",
    "sharp_model",
    "start_at",
]
