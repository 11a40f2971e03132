"""Figures of the section "How it was measured", drawn from the committed tables."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

TABLES = Path(__file__).parents[2] / "examples" / "benchmarks"
SMALL = 0.1  # nats, where the axis of gains turns from linear to logarithmic


def blocks(name):
    """The lines of each block of a table, without what stands above the first."""
    text = (TABLES / f"{name}.txt").read_text()
    return [block.splitlines() for block in text.split("\n\n")[1:]]


def compared(name, model):
    """Rows of a comparison with PCA, as dicts of numbers by column."""
    title, rows = None, []
    for lines in blocks(name):
        if " against " in lines[0] and len(lines) == 1:
            title = lines[0]
        elif title and title.startswith(f"{model} against"):
            rows += [row for row in map(_compared, lines) if row]
    return rows


def _compared(line):
    found = re.match(r"(\S+) +(\d+) +(\S+) +(\S+) +([+-]\S+) ± +(\S+) +(\S+) +(\S+) +(\S+)", line)
    if not found:
        return None
    label, d, *numbers = found.groups()
    names = "linear", "mixture", "gain", "error", "r2", "ppca", "pca"
    values = dict(zip(names, map(float, numbers), strict=True))
    return {"label": f"{label}, {d}", **values}


def gains(name="versus_linear", models=("vae", "rho ar1"), labels=("VAE", "ρ-VAE")):
    """The gain in likelihood over PCA, cell by cell."""
    first = sorted(compared(name, models[0]), key=lambda row: row["gain"])
    order = [row["label"] for row in first]
    _, ax = plt.subplots(figsize=(6.5, 0.16 * len(order) + 0.9))
    for shift, model, label in zip((-0.15, 0.15), models, labels, strict=False):
        rows = {row["label"]: row for row in compared(name, model)}
        y = np.arange(len(order)) + shift
        gain = [rows[key]["gain"] for key in order]
        error = np.nan_to_num([rows[key]["error"] for key in order])
        ax.errorbar(gain, y, xerr=error, fmt="o", ms=3, lw=0.8, label=label)
    ax.axvline(0, color="grey", lw=0.8)
    ax.set_xscale("symlog", linthresh=SMALL)
    ax.set_yticks(range(len(order)), order, fontsize=7)
    ax.set(xlabel="held-out nats per row above PCA (± standard error)", ylim=(-1, len(order)))
    ax.legend(loc="lower right")


def sorted_gains(names, labels):
    """The gains over PCA of many tables, sorted."""
    _, ax = plt.subplots(figsize=(6.5, 3.2))
    for name, label in zip(names, labels, strict=True):
        gain = np.sort([row["gain"] for row in compared(name, "vae")])
        ax.plot(np.linspace(0, 100, len(gain)), gain, label=f"{label}: {len(gain)} cells")
    ax.axhline(0, color="grey", lw=0.8)
    ax.set_yscale("symlog", linthresh=SMALL)
    ax.set(xlabel="percent of cells", ylabel="held-out nats per row above PCA")
    ax.legend()


def reconstructions(name="versus_linear"):
    """R² of the autoencoder over that of PCA."""
    rows = compared(name, "vae")
    _, ax = plt.subplots(figsize=(4.2, 4))
    ax.scatter([row["pca"] for row in rows], [row["r2"] for row in rows], s=12)
    ax.plot([0, 1], [0, 1], color="grey", lw=0.8)
    for row in rows:
        if row["r2"] < row["pca"] - 0.05 or row["r2"] > row["pca"] + 0.25:
            ax.annotate(row["label"], (row["pca"], row["r2"]), fontsize=7)
    ax.set(xlabel="R² of PCA, held out", ylabel="R² of the VAE, held out")


def ablations():
    """The score minus PCA's with each ingredient left out."""
    lines = (TABLES / "versus_linear_ablations.txt").read_text().splitlines()
    head = next(line for line in lines if line.startswith("table  "))
    names = re.split(r"  +", head)[2:]
    rows = [re.split(r"  +", line.strip()) for line in lines if re.search(r"[+-]\d+\.\d+$", line)]
    rows = [row for row in rows if len(row) == len(names) + 2]
    labels = [f"{row[0]}, {row[1]}" for row in rows]
    table = np.array([[float(value) for value in row[2:]] for row in rows])
    _, ax = plt.subplots(figsize=(6.5, 4))
    change = table[:, 1:] - table[:, :1]
    shade = np.sign(change) * np.log10(1 + np.abs(change) / SMALL)
    shown = ax.imshow(shade, cmap="RdBu", aspect="auto")
    shown.set_clim(-3, 3)
    for (i, j), value in np.ndenumerate(change):
        colour = "white" if abs(value) > 10 else "black"
        text = f"{value:+.1f}" if abs(value) < 100 else f"{value:+.0f}"
        ax.text(j, i, text, ha="center", va="center", fontsize=6, color=colour)
    ax.set_xticks(range(len(names) - 1), names[1:], rotation=40, ha="right", fontsize=7)
    ax.set_yticks(range(len(labels)), labels, fontsize=7)
    ax.set_title("change in nats per row when an ingredient is left out", fontsize=9)


def step_times():
    """Time of a training step over that of a loop by hand."""
    lines = (TABLES / "speed.txt").read_text().splitlines()[3:10]
    others = ["package", "stock skorch", "pythae", "encdr"]
    rows = [re.split(r"  +", line) for line in lines[1:] if line]
    _, ax = plt.subplots(figsize=(6.5, 2.8))
    for j, other in enumerate(others):
        ratio = [float(row[3 + j]) for row in rows]
        ax.bar(np.arange(len(rows)) + 0.2 * (j - 1.5), ratio, 0.2, label=other)
    ax.axhline(1, color="grey", lw=0.8)
    labels = [f"{row[0]}\n{row[2]} ms".replace(", ", "\n") for row in rows]
    ax.set_xticks(range(len(rows)), labels, fontsize=6)
    ax.set(ylabel="time over that of a loop by hand")
    ax.legend(ncols=4, loc="lower right", bbox_to_anchor=(1, 1), fontsize=8)


def growth():
    """Seconds of a default fit over rows, and of two epochs."""
    lines = (TABLES / "growth.txt").read_text().splitlines()
    series, title = {}, None
    for line in lines:
        if "seconds" in line:
            title = re.split(r"  +", line)[0]
        found = re.match(r" +(\d+) +(\d+) +(\S+)", line)
        if found and title:
            size, d, seconds = found.groups()
            series.setdefault((title, d), []).append((int(size), float(seconds)))
    _, axes = plt.subplots(1, 2, figsize=(6.5, 2.9))
    for (title, d), points in series.items():
        ax = axes[0] if title.startswith("rows of") else axes[1]
        if not title.startswith("pixels"):
            ax.loglog(*zip(*points, strict=True), marker="o", ms=3, label=f"{d} components")
    axes[0].set(xlabel="rows of shuttle (9 columns)", ylabel="seconds", title="a default fit")
    axes[1].set(xlabel="rows (100 columns)", title="two epochs")
    for ax in axes:
        ax.legend(fontsize=8)


def exactness():
    """The ELBO that training arrives at, below the best linear model's."""
    _, axes = plt.subplots(1, 2, figsize=(6.5, 3), sharey=True)
    names = {"exactness_pca": "PCA", "exactness_factor_analysis": "factor analysis"}
    for ax, (name, label) in zip(axes, names.items(), strict=True):
        pattern = r"\S+ +\d+ +(\S+) +\S+ +([+-]\S+) +([+-]\S+) +([+-]\S+)$"
        rows = re.findall(pattern, (TABLES / f"{name}.txt").read_text(), re.M)
        for family in dict.fromkeys(row[0] for row in rows):
            own = np.array([row[1:] for row in rows if row[0] == family], dtype=float)
            ax.scatter(own[:, 2], own[:, 1], s=14, label=family)
        low = min(min(float(row[3]) for row in rows) - 0.05, -0.4)
        ax.plot([low, 0], [low, 0], color="grey", lw=0.8)
        ax.axhline(0, color="grey", lw=0.8, ls=":")
        ax.set(xlabel="predicted, nats", title=f"beside {label}")
    axes[0].set_ylabel("ELBO minus the exact maximum, nats")
    axes[0].legend(fontsize=7)


def imputation():
    """Errors of imputed values beside ridge regressions, neighbours and random forests."""
    pattern = r"^(\w+) +(\S.*?\S)  +(0\.\d+|1\.\d+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+)$"
    rows = re.findall(pattern, (TABLES / "imputation.txt").read_text(), re.M)
    _, axes = plt.subplots(1, 3, figsize=(7.5, 3), sharey=True)
    labels = "ridge regressions", "neighbours", "random forests"
    for ax, column, label in zip(axes, (3, 4, 5), labels, strict=True):
        for kind in dict.fromkeys(row[1] for row in rows):
            own = np.array([(row[column], row[2]) for row in rows if row[1] == kind], dtype=float)
            ax.scatter(*own.T, s=14, label=kind)
        ax.plot([0.15, 1.1], [0.15, 1.1], color="grey", lw=0.8)
        ax.set(xlabel=f"error of {label}")
    axes[0].set_ylabel("error of VAEImputer")
    axes[0].legend(title="missing", loc="lower right", fontsize=6, title_fontsize=7)


def sampled_rows():
    """Whether a classifier tells sampled rows from real ones."""
    rows = {}
    for line in (TABLES / "mixed.txt").read_text().splitlines():
        numbers = re.findall(r"(\S+) ± (\S+)", line)
        if numbers:  # utility and detection of each in turn, with standard errors
            rows[re.split(r"  +", line)[0]] = np.array(numbers, dtype=float)[1::2]
    labels = "VAE", "TVAE", "Gaussian copula"
    _, ax = plt.subplots(figsize=(6.5, 2.9))
    for i, label in enumerate(labels):
        accuracy, error = np.transpose([numbers[i] for numbers in rows.values()])
        y = np.arange(len(rows)) + 0.15 * (i - 1)
        ax.errorbar(accuracy, y, xerr=error, fmt="o", ms=4, lw=0.8, label=label)
    ax.axvline(0.5, color="grey", lw=0.8)
    ax.set_yticks(range(len(rows)), rows, fontsize=8)
    ax.set(xlabel="accuracy of telling samples from real rows (0.5 is best)", xlim=(0.48, 1.02))
    ax.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), fontsize=8)


def flat_spectra():
    """Reconstruction of curved sets whose linear spectrum is flat."""
    rows = re.findall(
        r"^(\w[\w ]*?) +(\d+) +(0\.\d+) +(0\.\d+) +(0\.\d+) ",
        (TABLES / "flat_spectra.txt").read_text(),
        re.M,
    )
    names = list(dict.fromkeys(row[0] for row in rows))
    _, ax = plt.subplots(figsize=(5.5, 2.4))
    for column, label, shift in ((2, "PCA", -0.2), (3, "VAE", 0), (4, "ρ-VAE", 0.2)):
        y = [names.index(row[0]) + shift for row in rows]
        ax.plot([float(row[column]) for row in rows], y, "o", ms=4, alpha=0.6, label=label)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="R², ten draws of each set")
    ax.legend(fontsize=8)
