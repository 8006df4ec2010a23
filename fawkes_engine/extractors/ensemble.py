"""The ensemble of recognisers: in float32 to measure faces, in the device's fastest precision to optimise cloaks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from fawkes_engine import extractors
from fawkes_engine.errors import EngineError
from fawkes_engine.extractors import KNOWN_BY, Extractor
from fawkes_engine.extractors.alone import equal_alone, is_possible
from fawkes_engine.extractors.bfloat16 import in_bfloat16, is_faster
from fawkes_engine.face.align import sample_chips
from fawkes_engine.face.canvas import Canvas
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.identity.targets import Pool
from fawkes_engine.photo.colour import ColourSpace
from fawkes_engine.types import EngineSettings
from fawkes_engine.weights import catalog


class Ensemble:
    """Loaded recognisers.

    names: of them. second_try: the schedule for faces that KNOWN_BY, which verifies, still recognises: it gets every
    second step.

    Raises on construction:
        EngineError: an unknown extractor, or KNOWN_BY is not among them. WeightsError: weights missing or wrong.
    """

    def __init__(self, settings: EngineSettings, pool: Pool, device: torch.device) -> None:
        models_dir = settings.models_dir or catalog.default_folder()
        self.names = settings.extractors or catalog.best_on_disk(models_dir)
        if KNOWN_BY not in self.names:
            raise EngineError(f"{KNOWN_BY} must be among the extractors: it identifies people")
        self._device = device
        self._measuring = {n: extractors.load(n, pool.mean(n), device, models_dir) for n in self.names}
        self._optimising = [_for_optimising(e, device) for e in self._measuring.values()]
        verifier, *others = sorted(self._optimising, key=lambda e: e.name != KNOWN_BY)
        self.second_try = [e for other in others for e in (verifier, other)] or [verifier]

    def turns(self, second: Collection[str] = ()) -> list[Extractor]:
        """Return the optimiser's schedule, one extractor per step, repeated. second: those that get two turns."""
        return [*self._optimising, *(e for e in self._optimising if e.name in second)]

    def warm_up(self) -> None:
        """Run every network once."""
        # in float32 they share their weights, and what one pass prepares
        every = {id(next(e.network.parameters())): e for e in (*self._measuring.values(), *self._optimising)}
        for extractor in every.values():
            extractor.embed(torch.zeros(1, 3, extractor.chip_px, extractor.chip_px, device=self._device))

    @torch.no_grad()
    def embed(
        self, pixels: Pixels, faces: Sequence[Face], names: Sequence[str], colour: ColourSpace | None
    ) -> dict[str, Tensor]:
        """Embed the faces of a photo with pixels in this colour space: extractor -> (faces, D)."""
        if not faces:
            return {}
        canvases = [Canvas.around(face, pixels, colour) for face in faces]
        cuts = [canvas.cut(pixels)[None] for canvas in canvases]
        embedded = {}
        for extractor in (self._measuring[name] for name in names):
            onto = [c.onto_canvas(extractor.onto_photo(f)) for c, f in zip(canvases, faces, strict=True)]
            chips = [sample_chips(c, [o], extractor.chip_px) for c, o in zip(cuts, onto, strict=True)]
            embedded[extractor.name] = extractor.embed(torch.cat(chips).to(self._device))
        return embedded


def _for_optimising(extractor: Extractor, device: torch.device) -> Extractor:
    if is_faster(device):
        return in_bfloat16(extractor)
    return equal_alone(extractor) if is_possible(device) else extractor
