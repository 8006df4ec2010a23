"""Prints the arguments of `podman run` for a service of compose.yaml, one a line: test.sh needs no compose for it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import yaml

_HERE = Path(__file__).parent
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def main(name: str) -> None:
    """Print the arguments for one service. Raises KeyError for a service that is not there."""
    text = _VARIABLE.sub(lambda found: os.environ.get(*found.groups()), (_HERE / "compose.yaml").read_text())
    service = yaml.safe_load(text)["services"][name]
    arguments = [f"--user={service['user']}", f"--network={service.get('network_mode', 'none')}"]
    if service["init"]:
        arguments.append("--init")
    if service["read_only"]:
        arguments += ["--read-only", "--read-only-tmpfs=false"]
    for option, key in {"cap-drop": "cap_drop", "security-opt": "security_opt", "tmpfs": "tmpfs"}.items():
        arguments += [f"--{option}={value}" for value in service[key]]
    for volume in service["volumes"]:
        arguments.append(f"--volume={_HERE / volume}")
    print("\n".join(arguments))


if __name__ == "__main__":
    main(sys.argv[1])
