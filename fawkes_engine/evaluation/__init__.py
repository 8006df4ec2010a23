r"""What the cloaks are worth: measured with trackers, as someone who collects published photos would use them.

    draw -------> publish --------> evaluate ---------------------------------> as_markdown, as_json, as_svg
    splits.py     publishing.py     protection.py                               report.py, plot.py
                  store.py          sightings.py, trackers.py (onnx.py): find and describe faces
                  quality.py        heads.py, finetune.py: name them; rates.py: count
                                    noise.py, disturb.py: what else is learned from; costs.py: visibility, time
                  audit.py: one user's own photos

    from fawkes_engine.engine import Engine
    from fawkes_engine import evaluation, EngineSettings

    split = evaluation.draw(Path("faces"), people=5)
    engine = Engine(EngineSettings(), evaluation.MemoryTargets())
    publication = evaluation.publish(engine, split.cloaked)        # slow: seconds per photo
    trackers = evaluation.load_trackers(["dlib", "onnx:other.onnx"], torch.device("cpu"))
    result = evaluation.evaluate(publication, trackers, split)
    print(*result.recognition, sep="\n")

`fawkesd evaluate` does this. `evaluation.studies` measures what beats the cloaks. Unlike the engine this package reads
folders; it never touches a user's targets.
"""

from fawkes_engine.evaluation.data.publication import MemoryTargets, Publication, publish
from fawkes_engine.evaluation.data.splits import Split, draw, photos_below
from fawkes_engine.evaluation.data.store import load_publication, save_publication
from fawkes_engine.evaluation.protection import Evaluation, evaluate
from fawkes_engine.evaluation.report.plot import as_svg
from fawkes_engine.evaluation.report.text import Run, as_json, as_markdown
from fawkes_engine.evaluation.trackers.heads import HEADS, check_heads
from fawkes_engine.evaluation.trackers.tracker import Tracker, load_trackers

__all__ = [
    "HEADS",
    "Evaluation",
    "MemoryTargets",
    "Publication",
    "Run",
    "Split",
    "Tracker",
    "as_json",
    "as_markdown",
    "as_svg",
    "check_heads",
    "draw",
    "evaluate",
    "load_publication",
    "load_trackers",
    "photos_below",
    "publish",
    "save_publication",
]
