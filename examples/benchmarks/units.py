"""What the score of the same images is under each likelihood, and in each unit.

Eight components on their defaults, ``random_state=0``; the mean of `score_samples` over held-out
images. Pixels are left as they are, or divided by the largest value. The images are scikit-learn's
8 x 8 digits, three quarters to train on; or those of ``--data``, which is as in
``rho_vae_paper.py``, 1,000 to train on and 300 held out.

Run as ``python examples/benchmarks/units.py --data mnist=mnist.npz --out
examples/benchmarks/units.txt``.
"""

import argparse
import os
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from report import heading, publish
from rho_vae_paper import load
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_vae import VAETransformer

CELLS = (
    ("gaussian", "as they are"),
    ("gaussian", "0 to 1"),
    ("bernoulli", "0 to 1"),
    ("continuous_bernoulli", "0 to 1"),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=[], help="name=path, of an npz file or folder")
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    sets = {}
    for name, path in (one.split("=", 1) for one in options.data):
        X = np.rint(255 * load(name, path)[0][:1300])
        sets[name] = X[:1000], X[1000:]
    if not sets:
        sets["digits"] = train_test_split(load_digits().data, random_state=0)
    names = "".join(f" {name}={name}.npz" for name in sets if options.data)
    lines = [
        *heading(f"units.py --data{names}", ("torch", "scikit-learn", "numpy")),
        "",
        f"{'images':10}{'pixels':8}{'that vary':>11}  {'likelihood':22}{'values':14}{'nats':>9}",
    ]
    for name, (train, test) in sets.items():
        varies, largest = (np.ptp(train, axis=0) > 0).sum(), train.max()
        for likelihood, unit in CELLS:
            by = 1 if unit == "as they are" else largest
            model = VAETransformer(8, likelihood=likelihood, random_state=0).fit(train / by)
            nats = model.score(test / by)
            count = f"{train.shape[1]:<8}{varies:>11}"
            lines.append(f"{name:10}{count}  {likelihood:22}{unit:14}{nats:>9.1f}")
            print(lines[-1], flush=True)
    publish(lines, options.out)


if __name__ == "__main__":
    main()
