"""
===========================
Outliers, and what they are
===========================

Rows that a model of the inliers finds improbable, and the columns that are to blame. The inliers
are benign tumours of scikit-learn's breast cancer table, the outliers malignant ones.
"""

# %%
# The detector sees half of the benign tumours. ``contamination`` is the share of the training rows
# that lies below the threshold.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import RocCurveDisplay
from sklearn.model_selection import train_test_split

from sklearn_vae import VAEOutlierDetector

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
benign, malignant = X[y == 1], X[y == 0]
train, held_out = train_test_split(benign, test_size=0.5, random_state=0)
test, is_benign = np.concatenate([held_out, malignant]), np.repeat([1, 0], [len(held_out), 212])
detector = VAEOutlierDetector(contamination=0.05, random_state=0).fit(train)

# %%
# ``decision_function`` is log p(x) above the threshold, in nats. What is below 0 is an outlier.

found = {"benign": detector.decision_function(held_out)}
found["malignant"] = detector.decision_function(malignant)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
edges = np.linspace(-150, 40, 39)
for label, values in found.items():
    left.hist(np.clip(values, -150, None), edges, alpha=0.6, label=label)
    print(f"{label}: {np.mean(values < 0):.0%} are called outliers")
left.axvline(0, color="black", linewidth=1)
left.set(xlabel="decision_function, nats (below -150: -150)", ylabel="rows")
left.legend()
forest = IsolationForest(random_state=0).fit(train.to_numpy())
for name, model in {"VAEOutlierDetector": detector, "IsolationForest": forest}.items():
    rows = test if model is forest else X.loc[[*held_out.index, *malignant.index]]
    RocCurveDisplay.from_predictions(is_benign, model.decision_function(rows), name=name, ax=right)
plt.show()

# %%
# Why is a row an outlier? ``feature_contributions`` gives each column's share in nats: by how much
# its value is less probable, given the components of the row, than is usual in the training rows.

row = malignant.iloc[[int(np.argsort(found["malignant"])[len(malignant) // 2])]]
nats = detector.feature_contributions(row)[0]
order = np.argsort(nats)[-10:]
fig, ax = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
ax.barh(np.array(detector.feature_names_in_)[order], nats[order])
ax.set(xlabel="contribution, nats", title=f"The ten columns most to blame in row {row.index[0]}")
plt.show()
