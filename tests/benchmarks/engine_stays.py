"""How often control moves between modules while the engine finishes one photo: what a reader has to follow.

    python -m tests.benchmarks.engine_stays

It profiles `Engine._finish`, in which a photo and its cloaks become a verified file. The photo is scikit-image's
astronaut (a JPEG with one face); the second call counts, when all caches are full.

A stay is a period in which control is in one module of `fawkes_engine`; it ends with a call into another module, or
with the return to the caller. Three rules make it a count of what a reader follows, not of how often a loop runs:

- Helpers count as their callers: the modules of arithmetic on pixels, networks, time and public values (`_HELPERS`).
- So do queries of values: methods of dataclasses that call no further module.
- However often a stay calls into a module, the reader goes there once: one stay, and one for the return.

So n calls from module to module are 2 n + 1 stays. Commit 737e2b9, with this file copied into it, gives 25 stays in 12
modules; since cloaks are fitted to the budget where they are made, and only the file's pixels are decoded, it is
15 in 8. (With the fit in `write`, a call to `pipeline.preview`, which calls two more modules, it would be 21.) Each of
the five that are always needed, encoder, decoder, measure, detector and recognisers, takes two; fewer stays would
require writing and verifying in one module.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import FrameType

from fawkes_engine import EngineSettings, Protected, Request
from fawkes_engine.engine import Engine
from fawkes_engine.evaluation import MemoryTargets

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own helpers

from engine_pictures import astronaut, encoded

_PACKAGE, _WATCHED = "fawkes_engine.", "_finish"
_HELPERS = (
    *("types", "pipeline.stopwatch", "pipeline.batching", "photo.colour", "image.filters"),
    *("face.align", "face.canvas", "extractors.base", "extractors.dlib"),
    *("stopwatch", "batching", "colour", "blurs", "views", "canvas"),  # their names at commit 737e2b9
)


@dataclass(slots=True)
class Visit:
    """One visit to a module, from the call to the return; calls: nested visits to other modules."""

    module: str
    asks_a_value: bool
    calls: list[Visit] = field(default_factory=list)

    def path(self) -> Iterator[str]:
        """Yield the module of each stay."""
        yield self.module
        for call in self.calls:
            yield from call.path()
            yield self.module


class Recorder:
    """A profile function that follows `Engine._finish`. root: its visit, once it was called."""

    def __init__(self) -> None:
        self.root: Visit | None = None
        self._open: list[tuple[FrameType, Visit]] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Note a call or a return."""
        if event == "return" and self._open and self._open[-1][0] is frame:
            self._open.pop()
        elif event == "call":
            module = str(frame.f_globals.get("__name__", ""))
            name = module.removeprefix(_PACKAGE)
            is_watched = self._open or frame.f_code.co_name == _WATCHED
            if name != module and name not in _HELPERS and is_watched:
                self._open.append((frame, self._visit(frame, name)))

    def _visit(self, frame: FrameType, module: str) -> Visit:
        caller = self._open[-1][1] if self._open else None
        if caller and caller.module == module:
            return caller
        subject = frame.f_locals.get("self", frame.f_locals.get("cls"))
        visit = Visit(module, is_dataclass(subject))
        if caller:
            caller.calls.append(visit)
        else:
            self.root = visit
        return visit


def followed(visits: Sequence[Visit]) -> Visit:
    """Return visits to one module as a reader follows them: each call once, without queries of values."""
    by_module = defaultdict(list)
    for call in (call for visit in visits for call in visit.calls):
        by_module[call.module].append(call)
    calls = [followed(same) for same in by_module.values()]
    return Visit(
        visits[0].module,
        all(visit.asks_a_value for visit in visits),
        [call for call in calls if call.calls or not call.asks_a_value],
    )


def record() -> Visit:
    """Cloak the astronaut twice, and return what the second call of `Engine._finish` did."""
    settings = EngineSettings(extractors=("dlib",), steps=20, device="cpu", threads=1)
    engine = Engine(settings, MemoryTargets())
    request = Request(encoded(astronaut(), "JPEG"), "somebody")
    engine.protect([request])
    recorder = Recorder()
    sys.setprofile(recorder)
    try:
        (result,) = engine.protect([request])
    finally:
        sys.setprofile(None)
    assert isinstance(result, Protected), result
    assert recorder.root is not None
    return recorder.root


def main() -> None:
    """Print the path and the counts."""
    path = list(followed([record()]).path())
    print(" > ".join(path))
    print(f"{len(path)} stays in {len(set(path))} modules")


if __name__ == "__main__":
    main()
