r"""Measures protection with trackers, used as someone who collects published photos would use them.

    draw -----------> publish ----------------> evaluate, audit -------------> as_markdown, as_json, as_svg
    data/splits       data/publication, store   protection: people of a set    report/text, report/plot
                      data/noise: control       audit: one user's photos
                      data/disturb: edits       trackers/: find, embed and name faces
                      data/costs                metrics/: rates, image quality

A room imports only from rooms on lower lines:

    studies/            what beats the cloaks: leaks, training, detection, linking
    report/             results as Markdown, JSON and SVG
    protection, audit   recognition of people whose published photos a tracker learned
    data/               who is cloaked, tested and known; what was published of it, what it cost, controls
    trackers/           detection and crops (sightings), recognisers (tracker, onnx), classifiers (heads, finetune)
    metrics/            recognition rates with intervals, MS-SSIM

For example:

    from fawkes_engine.engine import Engine
    from fawkes_engine import evaluation, EngineSettings

    split = evaluation.draw(Path("faces"), people=5)
    engine = Engine(EngineSettings(), evaluation.MemoryTargets())
    publication = evaluation.publish(engine, split.cloaked)        # slow: seconds per photo
    trackers = evaluation.load_trackers(["dlib", "onnx:other.onnx"], torch.device("cpu"))
    result = evaluation.evaluate(publication, trackers, split)
    print(*result.recognition, sep="\n")

`fawkesd evaluate` does this, `fawkesd study` runs the studies. Unlike the engine this package reads folders; it never
touches a user's targets.
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
