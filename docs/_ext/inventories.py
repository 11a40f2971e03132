"""Inventories for links to other projects, made from lists of names that are kept here.

A line of a list is ``role uri name name ...``, or ``std:label uri name words of the title``. In
the uri a ``$`` stands for the name.
"""

import tempfile
import zlib
from pathlib import Path


def inventory(path):
    """Write the objects.inv of a list, and return where it is."""
    lines = []
    for line in path.read_text().splitlines():
        role, uri, *names = line.split()
        if role == "std:label":
            lines.append(f"{names[0]} {role} 1 {uri} {' '.join(names[1:])}")
            continue
        lines += [f"{name} {role} 1 {uri.replace('$', name)} -" for name in names]
    head = f"# Sphinx inventory version 2\n# Project: {path.stem}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    out = Path(tempfile.mkdtemp()) / f"{path.stem}.inv"
    out.write_bytes(head.encode() + zlib.compress("\n".join([*lines, ""]).encode()))
    return str(out)
