"""Model selection: where training starts, which start wins, and what is settled when it ends.

* `starts.py`: where training may start.
* `linear.py`: the linear models that it starts at.
* `missing.py`: the same of rows in which values are missing, and what they are filled with.
* `moments.py`: what a stream of rows leaves behind for them.
* `multistart.py`: from the starts to the net that is kept.
* `evidence.py`: what a likelihood calibrates itself by.
* `order.py`: the order and the signs of the components.
"""

from .evidence import Evidence
from .linear import LINEAR_MODELS, plainly_fitted, raise_noise_to
from .missing import GAUSSIAN, Filling
from .moments import MOST_FEATURES, Moments
from .multistart import FEW_ROWS, Trainer, best_net
from .order import put_in_order
from .starts import SAMPLED_INCOMPLETE, starting_points

__all__ = [
    "FEW_ROWS",
    "GAUSSIAN",
    "LINEAR_MODELS",
    "MOST_FEATURES",
    "SAMPLED_INCOMPLETE",
    "Evidence",
    "Filling",
    "Moments",
    "Trainer",
    "best_net",
    "plainly_fitted",
    "put_in_order",
    "raise_noise_to",
    "starting_points",
]
