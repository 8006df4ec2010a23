"""The pictures of the page: each found by its row in the ledger, decoded, and encoded anew without metadata.

No path ever comes from the client. A published copy is shown only while its file has the bytes that were published,
an original only while it is the file that the ledger knows.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator

from PIL import Image

from daemon.config.settings import Settings
from daemon.errors import InputError, SourceError
from daemon.fs.files import DIRECTORY, descend, opened, read_exactly, read_source, snapshot_of
from daemon.model import Photo, Settled, State
from daemon.state import facts
from daemon.state.history import History, Record
from daemon.state.result_cache import ResultCache
from daemon.web.thumbnails import Thumbnails
from fawkes_engine import EngineError
from fawkes_engine.photo.decode import decode, pixel_count

GRID_PX = 360
_ORIGINAL_THUMBNAIL_PX = 480
_WHOLE_QUALITY, _SMALL_QUALITY = 95, 85
_FACE_PX = 480
_MARGIN = 0.35  # around a face, of its size
# Decoded in the page's process, where no limit of memory holds as in the engine's: 120 MP take 1.2 GiB for a moment
LARGEST_PIXELS = 120_000_000
_MANY_PIXELS = 24_000_000
_DECODERS = threading.BoundedSemaphore(2)
_DECODER_OF_MANY = threading.BoundedSemaphore(1)

Box = tuple[float, float, float, float]


class Pictures:
    """Makes JPEG files of photos; every method raises InputError, which says why there is no picture."""

    def __init__(self, settings: Settings, thumbnails: Thumbnails) -> None:
        self._settings = settings
        self._thumbnails = thumbnails

    def thumbnail(self, record: Record) -> bytes:
        """A small picture of the published copy, from the cache if it was made before."""
        output = record.photo.output
        if record.photo.state is not State.PUBLISHED or output is None:
            raise InputError("no copy is published")
        known = self._thumbnails.get(output.sha256)
        if known is not None:
            return known
        made = _scaled(self.copy_bytes(record.photo), GRID_PX)
        self._thumbnails.put(output.sha256, made)
        return made

    def copy(self, history: History, record: Record) -> bytes:
        """The cloaked picture at full size: the published copy, or the result that waits for review."""
        return _whole(self.cloaked_bytes(history, record))

    def original(self, record: Record) -> bytes:
        """The uncloaked original at full size."""
        return _whole(_original_bytes(record.photo))

    def original_thumbnail(self, record: Record) -> bytes:
        """A small picture of the uncloaked original, which is never kept."""
        return _scaled(_original_bytes(record.photo), _ORIGINAL_THUMBNAIL_PX)

    def cloaked_thumbnail(self, history: History, record: Record) -> bytes:
        """A small picture of the result that waits for review, which is not kept: it may be rejected."""
        return _scaled(self.cloaked_bytes(history, record), _ORIGINAL_THUMBNAIL_PX)

    def face(self, history: History, record: Record, number: int, *, original: bool) -> bytes:
        """One face of the report, with some room around it."""
        faces = record.report["faces"] if record.report else []
        if not 0 <= number < len(faces):
            raise InputError("there is no such face")
        data = _original_bytes(record.photo) if original else self.cloaked_bytes(history, record)
        return _region(data, faces[number]["box"])

    def cloaked_bytes(self, history: History, record: Record) -> bytes:
        """The published copy, or the result that waits for review, as they are on the disk."""
        if record.photo.state not in {State.REVIEW, State.REJECTED}:
            return self.copy_bytes(record.photo)
        key = history.facts.all().get(facts.RESULTS_KEY, "")
        results = ResultCache(self._settings.state_dir / "results", bytes.fromhex(key))
        found = results.waiting(record.photo)
        if found is None or found.sha256 != record.photo.result_sha256:
            raise InputError("the result is gone; make it again")
        return found.data

    def copy_bytes(self, photo: Photo) -> bytes:
        """The published copy as it lies in the sync folder."""
        user = self._settings.user(photo.source.outbox.user)
        if photo.state is not State.PUBLISHED or photo.output is None or user is None:
            raise InputError("no copy is published")
        relative = photo.output.relative
        try:
            with (
                opened(user.sync, DIRECTORY) as root,
                descend(root, relative.parent) as parent,
            ):
                data = read_exactly(relative.name, parent, photo.output.sha256)
        except OSError as exc:
            raise InputError("the sync folder cannot be read now") from exc
        if data is None:
            raise InputError("the published copy was deleted or changed")
        return data


def _original_bytes(photo: Photo) -> bytes:
    found = snapshot_of(photo.source.path)
    if found is None or not found.same_content(photo.snapshot):
        raise InputError("the original is gone or has changed")
    try:
        return read_source(Settled(photo.source, found))
    except SourceError as exc:
        raise InputError("the original cannot be read now") from exc


def _whole(data: bytes) -> bytes:
    with _decoded(data) as image:
        return _encoded(image, _WHOLE_QUALITY)


def _scaled(data: bytes, size_px: int) -> bytes:
    with _decoded(data) as image:
        image.thumbnail((size_px, size_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
        return _encoded(image, _SMALL_QUALITY)


def _region(data: bytes, box: Box) -> bytes:
    """Cut a box with a margin out; at least its own pixels, at most _FACE_PX of them on a side."""
    x0, y0, x1, y1 = box
    dx, dy = (x1 - x0) * _MARGIN, (y1 - y0) * _MARGIN
    with _decoded(data) as image:
        cut = (
            max(round(x0 - dx), 0),
            max(round(y0 - dy), 0),
            min(round(x1 + dx), image.width),
            min(round(y1 + dy), image.height),
        )
        part = image.crop(cut)
        if max(part.size) > _FACE_PX:
            part.thumbnail((_FACE_PX, _FACE_PX), Image.Resampling.LANCZOS)
        part.info["icc_profile"] = image.info.get("icc_profile")
        return _encoded(part, _WHOLE_QUALITY)


@contextlib.contextmanager
def _decoded(data: bytes) -> Iterator[Image.Image]:
    """Context manager: the upright picture, with its colour profile and nothing else; two at a time, one large one."""
    pixels = pixel_count(data)
    if pixels > LARGEST_PIXELS:
        raise InputError(f"it has over {LARGEST_PIXELS // 1_000_000} megapixels; open the file itself")
    with _DECODER_OF_MANY if pixels > _MANY_PIXELS else contextlib.nullcontext(), _DECODERS:
        try:
            photo = decode(data)
        except EngineError as exc:
            raise InputError(f"there is no picture: {exc}") from exc
        except MemoryError as exc:
            raise InputError("there is not enough memory for this picture") from exc
        image = Image.fromarray(photo.pixels)
        image.info["icc_profile"] = None if photo.grey else photo.icc or photo.implied
        yield image


def _encoded(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling=0, icc_profile=image.info.get("icc_profile"))
    return stream.getvalue()
