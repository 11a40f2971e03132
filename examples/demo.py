"""The main job in one run: each estimator in PCA's place, on scikit-learn's digits.

Prints, on held-out digits and for PCA and both estimators, how well eight components rebuild the
images, the log-likelihood in nats, and what a classifier makes of the components; and saves one
picture, ``demo.png``.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import RhoVAETransformer, VAETransformer

N_COMPONENTS = 8
PICTURE = "demo.png"


def main():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    reducers = {
        "PCA": PCA(N_COMPONENTS, random_state=0),
        "VAETransformer": VAETransformer(N_COMPONENTS, random_state=0),
        "RhoVAETransformer": RhoVAETransformer(N_COMPONENTS, random_state=0),
    }
    print(
        f"scikit-learn's digits, {N_COMPONENTS} components, {len(X_train)} to train on, "
        f"{len(X_test)} held out\n"
    )
    print(
        f"{'':19}{'reconstruction':>15}{'log-likelihood':>17}{'accuracy on the':>18}{'time to':>10}"
    )
    print(f"{'':19}{'R²':>15}{'nats':>17}{'components':>18}{'fit, s':>10}")
    rebuilt = {}
    for name, reducer in reducers.items():
        pipeline = make_pipeline(StandardScaler(), reducer)
        start = time.perf_counter()
        Z_train = pipeline.fit_transform(X_train)
        seconds = time.perf_counter() - start
        Z_test = pipeline.transform(X_test)
        rebuilt[name] = pipeline.inverse_transform(Z_test)
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(
            Z_train, y_train
        )
        r2 = r2_score(X_test, rebuilt[name], multioutput="variance_weighted")
        log_likelihood, accuracy = pipeline.score(X_test), classifier.score(Z_test, y_test)
        print(f"{name:19}{r2:15.3f}{log_likelihood:17.2f}{accuracy:18.3f}{seconds:10.1f}")
    draw(X_test, y_test, rebuilt)
    print(f"\nThe picture: {PICTURE}")


def draw(X, y, rebuilt):
    """Save ten held-out digits, one of each, above what each method makes of them."""
    rows = {"held-out digit": X, **rebuilt}
    chosen = [np.flatnonzero(y == digit)[0] for digit in range(10)]
    fig, axes = plt.subplots(
        len(rows), 10, figsize=(10, 1.05 * len(rows) + 0.6), layout="constrained"
    )
    for axes_row, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, index in zip(axes_row, chosen, strict=True):
            ax.imshow(images[index].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
            ax.set(xticks=[], yticks=[])
        axes_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    fig.suptitle(f"Digits rebuilt from {N_COMPONENTS} numbers each")
    fig.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    main()
