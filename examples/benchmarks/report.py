"""What every benchmark writes: the command and the versions that made a table, and the table.

The table goes to a file where it was asked for.
"""

import platform
from importlib.metadata import version


def heading(command, packages, *circumstances):
    """Two lines: the command, and the versions of Python and the packages.

    With whatever else made the figures.
    """
    versions = ", ".join(
        [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    )
    return [
        f"Command: python examples/benchmarks/{command}",
        "; ".join([f"Versions: {versions}", *circumstances]),
    ]


def publish(lines, file):
    """Write lines to a file, or to the screen if it is None."""
    text = "\n".join(lines) + "\n"
    if file is None:
        print(text)
        return
    with open(file, "w", encoding="utf-8") as out:
        out.write(text)
