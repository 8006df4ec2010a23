"""The command `fawkesd`, also as `python -m daemon`."""

from __future__ import annotations

import sys
from typing import NoReturn

import daemon


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    # the distribution python-daemon installs a top-level package of the same name over ours
    if hasattr(daemon, "DaemonContext"):
        sys.exit(_refuse())
    from daemon.cli.main import run_command

    sys.exit(run_command(sys.argv[1:]))


def _refuse() -> int:
    print(
        "fawkesd: the package python-daemon has taken the name `daemon` in this environment; "
        "install fawkesd in an environment of its own",
        file=sys.stderr,
    )
    return 78  # EX_CONFIG; daemon.exits cannot be trusted to be there


if __name__ == "__main__":
    main()
