"""The commands for people: enroll, people, forget."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.common import Config, Json, examples
from daemon.errors import InputError
from daemon.text import moment, printable
from fawkes_engine import STRANGER

app = typer.Typer()


@app.command(
    "enroll",
    epilog=examples(
        "fawkesd enroll me1.jpg me2.jpg me3.jpg --user alice",
        "fawkesd enroll ~/Pictures/me/*.jpg --user alice --config ./fawkesd.yaml",
    ),
)
def enroll_user(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", show_default=False)],
    user: Annotated[str, typer.Option(help="User whose face most of the photos show.")],
    config: Config = None,
) -> None:
    """Teach fawkesd a user's face.

    Learns the face that most of the photos show, as embeddings; the photos are only read. Without enrolment, fawkesd
    takes the face that most of the first photos in the user's outbox show. A running service uses it after
    `fawkesd reload`.
    """
    from daemon.batch import cloak, own_photos

    setup = cloak.setup(config, user)
    missing = [photo for photo in photos if not photo.is_file()]
    if missing:
        raise InputError(f"{printable(missing[0])} is not a readable file; check the path")
    own_photos.refuse_copies(photos, setup.state_dir)
    cloak.check_target(setup, user)
    engine = cloak.load_engine(setup.engine.to_engine(), setup.targets_dir)
    shown = engine.enroll(user, [photo.read_bytes() for photo in photos])
    typer.echo(f"Learned {user}'s face from {shown} of {len(photos)} photos.")


@app.command("people", epilog=examples("fawkesd people", "fawkesd people --json"))
def list_people(config: Config = None, as_json: Json = False) -> None:
    """Show who is known, and each one's target identity.

    Names that begin with ~ are other people seen in users' photos.
    """
    from daemon.batch import cloak
    from daemon.state.targets import FileTargetStore

    store = FileTargetStore(cloak.targets_dir(config))
    targets = {person: target for person in store.people() if (target := store.get(person))}
    if as_json:
        found = {p: {"target": t.identity, "chosen_at": t.chosen_at} for p, t in targets.items()}
        typer.echo(json.dumps(found, indent=2))
        return
    if not targets:
        typer.echo("Nobody is known yet: a user gets a target with the first photo.", err=True)
    for person, target in targets.items():
        since = moment(datetime.datetime.fromisoformat(target.chosen_at).timestamp())
        typer.echo(f"{person}: target {target.identity}, since {since}")


@app.command("forget", epilog=examples("fawkesd forget ~1f3a5b7c9d0e", "fawkesd forget --strangers"))
def forget_people(
    people: Annotated[list[str] | None, typer.Argument(metavar="PERSON", show_default=False)] = None,
    strangers: Annotated[
        bool, typer.Option("--strangers", help="Forget everyone who is not a user.")
    ] = False,
    config: Config = None,
) -> None:
    """Erase the data kept about other people.

    They get a new target when they are seen again. Users are never forgotten this way, since their published photos
    carry their target. A running service forgets after `fawkesd reload`.
    """
    from daemon.batch import cloak
    from daemon.state.targets import FileTargetStore

    if bool(people) == strangers:
        raise typer.BadParameter("name the people, or use --strangers")
    store = FileTargetStore(cloak.targets_dir(config))
    known = store.people()
    wanted = [p for p in known if p.startswith(STRANGER)] if strangers else people or []
    for person in wanted:
        if not person.startswith(STRANGER):
            raise typer.BadParameter(
                f"{printable(person)} cannot be forgotten; only people named {STRANGER}... in `fawkesd people` can"
            )
        if person not in known:
            raise InputError(f"{printable(person)} is not known; `fawkesd people` lists who is")
    for person in wanted:
        store.forget(person)
    typer.echo(f"{len(wanted)} forgotten.")
