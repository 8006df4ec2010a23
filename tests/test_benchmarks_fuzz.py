"""What the fuzzing would notice: shown by probes that do, on purpose and harmlessly, what no reader may do."""

from __future__ import annotations

import io
import os
import random
import signal
import time
from collections.abc import Iterator

import pytest
from benchmarks.fuzz import corpus
from benchmarks.fuzz_child import Child, look
from benchmarks.mutations import MUTATIONS, mutated
from PIL import Image

from fawkes_engine import Unreadable

MADE = corpus([])


def misbehave(data: bytes) -> str:
    """Do what the file says."""
    match data:
        case b"refuse":
            raise Unreadable("damaged")
        case b"raise":
            raise KeyError("a reader's own mistake")
        case b"sleep":
            time.sleep(600)
        case b"take 300 MiB":
            return f"{len(bytearray(300 << 20))}"
        case b"take more than there is":
            return f"{len(bytearray(3 << 30))}"
        case b"exit":
            os._exit(3)
        case b"be killed":
            os.kill(os.getpid(), signal.SIGKILL)
    return "read"


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    it = Child(misbehave, limit_bytes=1 << 30)
    yield it
    it.close()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"raise", "KeyError"),
        (b"take 300 MiB", "more memory than a picture of its size"),
        (b"exit", "ended with status 3"),
        (b"be killed", "ended by SIGKILL"),
    ],
)
def test_a_fault_is_told_and_the_next_file_is_looked_at(child: Child, data: bytes, fault: str) -> None:
    answer = child.ask(data)
    assert answer.verdict == "fault" or data.startswith(b"take")
    assert fault in answer.fault
    assert child.ask(b"anything").verdict == "read"


def test_a_hang_is_ended_and_told() -> None:
    impatient = Child(misbehave, idle_s=0.5)
    try:
        assert impatient.ask(b"sleep").fault == "hang"
    finally:
        impatient.close()


@pytest.mark.parametrize(
    ("data", "verdict"),
    [(b"refuse", "refused: Unreadable"), (b"take more than there is", "refused: out of memory")],
)
def test_a_refusal_is_no_fault(child: Child, data: bytes, verdict: str) -> None:
    answer = child.ask(data)
    assert (answer.verdict, answer.fault) == (verdict, "")


@pytest.mark.parametrize("name", MADE)
def test_whole_files_of_every_format_are_read_and_written_anew(name: str) -> None:
    assert look(MADE[name]).startswith("written as ")


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_damages_files_and_does_so_again_from_the_same_seed(name: str) -> None:
    others = list(MADE.values())
    for data in others:
        made = [MUTATIONS[name](data, others, random.Random(seed)) for seed in range(6)]
        assert made == [MUTATIONS[name](data, others, random.Random(seed)) for seed in range(6)]
        assert any(changed != data for changed in made)


def test_damaged_pngs_mostly_pass_their_checksums_so_that_the_decoder_sees_what_is_in_them() -> None:
    png = MADE["made.0.RGB.png"]
    damaged = [mutated(png, [png], random.Random(seed))[1] for seed in range(40)]
    assert sum(map(passes, damaged)) >= 10


def passes(png: bytes) -> bool:
    try:
        Image.open(io.BytesIO(png)).verify()
    except Exception:  # noqa: BLE001 - damaged in another way
        return False
    return True
