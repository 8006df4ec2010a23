"""The commands for a backup of the users' targets: targets export, targets import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.common import Config, examples
from daemon.errors import InputError
from daemon.text import printable

app = typer.Typer(
    help="Back up the users' targets, which cannot be made again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_LEAST_PASSPHRASE = 10
_FIRST_LINE_BYTES = 4096
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="Take the passphrase from the first line of FILE, such as /dev/fd/3 [default: ask at the terminal].",
        show_default=False,
    ),
]


@app.command(
    "export",
    epilog=examples(
        "fawkesd targets export ~/targets.age",
        "fawkesd targets export targets.age --force --passphrase-file <(pass show fawkesd)",
    ),
)
def export_targets(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    passphrase_file: PassphraseFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing FILE.")] = False,
    config: Config = None,
) -> None:
    """Write every user's target to FILE, encrypted with a passphrase.

    Without its target a user's later photos would lead to another identity than all that were published. Keep FILE on
    another disk, and the passphrase apart from it: it cannot be recovered. FILE is in the format of age.
    """
    from daemon.batch import cloak
    from daemon.fs import atomic
    from daemon.state import target_backup

    targets_dir = cloak.targets_dir(config)
    targets = target_backup.read_all(targets_dir)
    passphrase = _passphrase(passphrase_file, is_new=True)
    atomic.write(file, target_backup.encrypt(targets, passphrase), replace=force, mode=0o600)
    target_backup.note_export(targets_dir, targets)
    typer.echo(f"{printable(file)} holds the target of {', '.join(targets)}.")


@app.command("import", epilog=examples("fawkesd targets import ~/targets.age"))
def import_targets(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    passphrase_file: PassphraseFile = None,
    config: Config = None,
) -> None:
    """Restore the users' targets from FILE, which `fawkesd targets export` wrote.

    Writes those that are missing or damaged. Never replaces another target: then nothing is imported, and the reason is
    printed. A user who is paused because the target is lost goes on by itself; otherwise run `fawkesd reload`.
    """
    from daemon.batch import cloak
    from daemon.state import target_backup

    try:
        data = file.read_bytes()
    except OSError as exc:
        raise InputError(f"{printable(file)} cannot be read ({exc.strerror})") from exc
    targets = target_backup.decrypt(data, _passphrase(passphrase_file, is_new=False))
    targets_dir = cloak.targets_dir(config)
    restored = target_backup.restore(targets_dir, targets)
    target_backup.note_export(targets_dir, targets)  # FILE holds them
    for user in targets:
        typer.echo(f"{user}: {'restored' if user in restored else 'is there already'}")


def _passphrase(file: Path | None, *, is_new: bool) -> str:
    if file is not None:
        passphrase = _first_line(file)
    elif sys.stdin is not None and sys.stdin.isatty():
        passphrase = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=is_new, err=True)
    else:
        raise typer.BadParameter("there is no terminal to ask for the passphrase; use --passphrase-file")
    if is_new and len(passphrase) < _LEAST_PASSPHRASE:
        raise typer.BadParameter(f"a passphrase has at least {_LEAST_PASSPHRASE} characters")
    return str(passphrase)


def _first_line(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            line = stream.readline(_FIRST_LINE_BYTES)
        passphrase = line.rstrip(b"\r\n").decode()
    except OSError as exc:
        raise InputError(f"the passphrase in {printable(file)} cannot be read ({exc.strerror})") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"the passphrase in {printable(file)} is not UTF-8") from exc
    if not passphrase:
        raise InputError(f"the first line of {printable(file)} is empty; write the passphrase there")
    return passphrase
