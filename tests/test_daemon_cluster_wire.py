"""What a node returns is read with checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from twins import make_photo, protected

from daemon.cluster import wire
from daemon.cluster.snapshots import Proposals
from daemon.workers.protocol import Refused
from fawkes_engine import NoFace, Protected, Request

REQUESTS = [Request(make_photo(seed=seed), "ada") for seed in range(2)]
RESULT = protected(make_photo(seed=7))


def answer(*results: Protected | NoFace) -> wire.Reply:
    return wire.reply("tls://127.0.0.1:1", "first", results or (RESULT, NoFace("none")), Proposals())


def read(reply: object) -> wire.Returned:
    return wire.read(reply, REQUESTS, "tiny-1")


def test_an_answer_is_read_as_it_was_written() -> None:
    returned = read(answer())

    assert (returned.node, returned.name) == ("tls://127.0.0.1:1", "first")
    assert list(returned.outcomes) == [RESULT, Refused("NoFace", "none")]


def changed(key: str, value: object) -> Callable[[dict[str, object]], None]:
    def change(row: dict[str, object]) -> None:
        row[key] = value

    return change


def in_report(key: str, value: object) -> Callable[[dict[str, object]], None]:
    def change(row: dict[str, object]) -> None:
        report = row["report"]
        assert isinstance(report, dict)
        report[key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed("sha256", "0" * 64),
        changed("suffix", ".exe"),
        changed("suffix", ["x"]),
        changed("report", None),
        in_report("fingerprint", "tiny-2"),
        in_report("strength", 50),
        in_report("seconds", float("nan")),
        in_report("faces", [{"box": 1}]),
        changed("reason", 5),
        lambda row: row.clear(),
    ],
)
def test_what_tells_nonsense_of_a_photo_is_refused(change: Callable[[dict[str, object]], None]) -> None:
    text, files, proposals = answer()
    told = json.loads(text)
    change(told["photos"][0])

    with pytest.raises(wire.NonsenseError):
        read((json.dumps(told), files, proposals))


@pytest.mark.parametrize(
    "reply",
    [
        None,
        (),
        b"",
        ("{}", [], b""),
        ("[" * 100_000, [], b""),
        (answer()[0], [], answer()[2]),
        (answer()[0], [*answer()[1], b"more"], answer()[2]),
        (answer()[0], [RESULT.data[:-1]], answer()[2]),
        (answer()[0], [bytearray(RESULT.data)], answer()[2]),
        (answer()[0], answer()[1], b"[]"),
        answer(RESULT),
        answer(RESULT, RESULT, RESULT),
        answer(replace(RESULT, data=b"another"), RESULT),
    ],
)
def test_what_is_no_answer_is_refused(reply: object) -> None:
    with pytest.raises(wire.NonsenseError):
        read(reply)


def test_a_failed_engine_says_why() -> None:
    with pytest.raises(wire.EngineFailed, match="out of memory") as failed:
        read(wire.failure("tls://127.0.0.1:1", "RuntimeError: out of memory"))
    assert failed.value.node == "tls://127.0.0.1:1"
