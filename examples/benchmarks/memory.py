"""Peak memory of transform and fit on a million rows, and training from a large memory map.

Each measurement is a process of its own; what it holds after its imports and a small fit does not
count. The memory map is of 20 million rows of 100 float32 (8 GB) unless ``--rows-on-disk`` says
otherwise. To train it with less memory than it has bytes, start the script in a control group with
a limit; it prints the limit that it finds.

Run as ``python examples/benchmarks/memory.py --out examples/benchmarks/memory.txt``.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from report import heading, publish

from sklearn_vae import VAETransformer

PARAMS = {"n_components": 8, "hidden_layer_sizes": (128,), "random_state": 0, "device": "cpu"}
MB = 1e6


def data(n):
    """Normal rows of 100 features, float32."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 100), dtype=np.float32)


def peak():
    """Most bytes that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def warm_up():
    """A small model, fitted; what is paid once is paid."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    return VAETransformer(**PARAMS, max_iter=1).fit(data(1000))


def measure_transform(answer):
    """Bytes beyond the input and the output, and the rate beside the bare module's.

    Over the same chunks.
    """
    model = warm_up()
    model.transform(data(1000))
    before = peak()
    X = data(1_000_000)
    start = time.perf_counter()
    Z = model.transform(X)
    ours = time.perf_counter() - start
    extra = peak() - before - X.nbytes - Z.nbytes
    module, rows = model.net_.module_, 2**22 // 128
    times = {"ours": [ours], "bare": []}
    for _ in range(5):
        start = time.perf_counter()
        with torch.inference_mode():
            for i in range(0, len(X), rows):
                Z[i : i + rows] = module.encode(torch.from_numpy(X[i : i + rows])).mean.numpy()
        times["bare"].append(time.perf_counter() - start)
        start = time.perf_counter()
        model.transform(X)
        times["ours"].append(time.perf_counter() - start)
    rate = np.median(times["bare"]) / np.median(times["ours"])
    answer.put(
        f"transform of 1,000,000 x 100: input + output + {extra / MB:.0f} MB; {rate:.2f} of the "
        "bare module's rate"
    )


def measure_fit(answer):
    """Peak of a fit over the size of the data."""
    warm_up()
    before = peak()
    X = data(1_000_000)
    VAETransformer(**PARAMS, max_iter=2, batch_size=1024).fit(X)
    answer.put(
        f"fit on 1,000,000 x 100, two epochs: peak {(peak() - before) / X.nbytes:.2f} times the "
        "data"
    )


def measure_memmap(answer, n):
    """Two epochs from disk beside two epochs from memory, per row."""
    warm_up()
    X = data(1_000_000)
    params = {**PARAMS, "max_iter": 2, "batch_size": 1024, "early_stopping": False}
    start = time.perf_counter()
    VAETransformer(**params).fit(X)
    in_memory = (time.perf_counter() - start) / len(X)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "X.npy")
        on_disk = np.lib.format.open_memmap(path, "w+", np.float32, (n, 100))
        for i in range(0, n, len(X)):
            on_disk[i : i + len(X)] = X[: n - i]
        on_disk.flush()
        del on_disk
        on_disk = np.load(path, mmap_mode="r")
        start = time.perf_counter()
        model = VAETransformer(**params).fit(on_disk)
        seconds = time.perf_counter() - start
        answer.put(
            f"fit on a memory map of {on_disk.nbytes / 1e9:.1f} GB, two epochs: {seconds:.0f} s, "
            f"{seconds / n / in_memory:.2f} times as long per row as from memory; peak resident "
            f"{peak() / 1e9:.2f} GB; loss {model.loss_curve_[0]:.2f}, {model.loss_curve_[1]:.2f}; "
            f"limit {memory_limit()}"
        )


def memory_limit():
    """What the control group of this process allows it."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, group = line.split(":", 2)
        folder, file = (
            ("memory", "memory.limit_in_bytes") if controllers == "memory" else ("", "memory.max")
        )
        limit = Path("/sys/fs/cgroup", folder, group.lstrip("/"), file)
        if (number == "0" or folder) and limit.exists():
            text = limit.read_text().strip()
            if text != "max" and int(text) < 2**60:  # version 1 has a number for no limit, too
                return f"{int(text) / 1e9:.1f} GB"
    return "none"


def run(function, *args):
    """The answer of a function run in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=function, args=(answer, *args))
    process.start()
    text = answer.get(timeout=3600)
    process.join()
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows-on-disk", type=int, default=20_000_000)
    parser.add_argument("--out", help="file to write to; the screen if not given")
    options = parser.parse_args()
    lines = [
        *heading(
            f"memory.py --rows-on-disk {options.rows_on_disk}",
            ("torch",),
            "100-128-8, CPU, 1 thread",
        ),
        "",
        run(measure_transform),
        run(measure_fit),
        run(measure_memmap, options.rows_on_disk),
    ]
    publish(lines, options.out)


if __name__ == "__main__":
    main()
