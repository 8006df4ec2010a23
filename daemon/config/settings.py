"""The configuration: one YAML file, read once, whole and strictly.

The docstring below each key is the key's documentation: it becomes the comment in the reference
configuration and the description in the JSON schema (see reference.py), so it is written for the photo's
owner. This module is long because that documentation is all here.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from daemon.config import validators
from daemon.config.quiet_hours import QuietHours, time_of_day
from daemon.model import QueueOrder
from fawkes_engine import DEFAULT_MODE, EngineSettings, HeicAs, MetadataPolicy, ModeName, Request
from fawkes_engine.weights import catalog


def _xdg(variable: str, fallback: str) -> Path:
    base = Path(os.environ.get(variable, ""))
    return base if base.is_absolute() else Path.home() / fallback  # the XDG rule: a relative value is ignored


def default_state_dir() -> Path:
    """$XDG_STATE_HOME/fawkesd, else ~/.local/state/fawkesd."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "fawkesd"


def default_config_path() -> Path:
    """$XDG_CONFIG_HOME/fawkesd/fawkesd.yaml, else ~/.config/fawkesd/fawkesd.yaml."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "fawkesd" / "fawkesd.yaml"


def _resolve(path: Path, info: ValidationInfo) -> Path:
    """Absolute and free of symlinks: a watch on a symlink never fires, and overlaps hide behind one."""
    base = info.context["folder"] if info.context else Path()
    try:
        return Path(base / path.expanduser()).resolve()
    except (OSError, RuntimeError) as exc:  # RuntimeError: no such ~user, or symlinks in a circle
        raise ValueError(f"{path} cannot be resolved ({exc}); correct the path") from exc


Place = Annotated[Path, AfterValidator(_resolve), AfterValidator(validators.possible_folder)]
ExistingFolder = Annotated[Path, AfterValidator(_resolve), AfterValidator(validators.existing_folder)]
UserName = Annotated[
    str, Field(strict=True, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")
]
Text = Annotated[str, Field(strict=True, min_length=1)]
Command = Annotated[tuple[Text, ...], AfterValidator(validators.runnable)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


HoursText = Annotated[str, Field(strict=True), AfterValidator(validators.hours)]


Pattern = Annotated[str, Field(strict=True, min_length=1), AfterValidator(validators.ignore_pattern)]


class _Keys(BaseModel):  # docstrings as documentation: one text for the code, the file and the schema
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class MetadataSettings(_Keys):
    """What a published photo says about itself."""

    gps: Literal["strip", "keep"] = "strip"
    """strip or keep the place where the photo was taken."""

    camera: Literal["keep", "strip"] = "keep"
    """keep or strip camera, lens and exposure."""

    all: Literal["keep", "strip"] = "keep"
    """strip leaves nothing but the colour profile and the resolution, whatever the two keys above say."""

    def to_engine(self) -> MetadataPolicy:
        """Return the same policy as the engine takes it."""
        return MetadataPolicy(gps=self.gps == "keep", camera=self.camera == "keep", all=self.all == "keep")


class UserSettings(_Keys):
    """One person: where their photos arrive and where the cloaked copies go."""

    name: UserName
    """The person's name: letters a-z, digits, . _ -, at most 64. It selects the fixed identity that all
    of this person's photos are moved toward, so keep it: a new name means a new identity."""

    outboxes: Annotated[tuple[ExistingFolder, ...], Field(min_length=1)]
    """Folders the photos are exported to; they are watched with their subfolders and never changed. Each
    must exist. ~ is your home; a relative path begins at the folder of this file."""

    sync: ExistingFolder
    """Folder that the sync tool uploads; it receives the cloaked copies under the same names. It must
    exist, and must not be, hold or lie in any other folder named here."""

    staging: Place | None = None
    """Folder where copies are finished before they appear in the sync folder; it must be on the same
    disk. null is a folder beside the sync folder, which fits unless your sync tool uploads that place
    too."""

    faces: Literal["all", "mine"] = "all"
    """all or mine: whose faces are cloaked. all is safer: a face of yours that is not known as yours, seen from
    the side for instance, is cloaked too. mine leaves everyone else as they are."""

    no_face: Literal["hold", "publish"] = "hold"
    """hold or publish: what becomes of a photo in which no face is found. hold is safer, since a face may have
    been missed; publish writes it anew without the metadata that is never kept."""

    metadata: MetadataSettings = MetadataSettings()
    """What a published photo says about itself. Rights, caption, dates and rating are kept. Thumbnails, serial
    numbers, owner names, face regions, persons, keywords and maker notes never are."""

    heic: Literal["jpeg", "heic"] = "jpeg"
    """jpeg or heic: the format in which HEIC and HEIF photos, as phones take them, are published. JPEG keeps a
    cloak better and opens everywhere."""

    ignore: tuple[Pattern, ...] = ()
    """Files in the outboxes that are none of ours, as lines of a .gitignore: "raw/", "*_draft.jpg",
    "!keep_draft.jpg". Temporary files of exporters and sync tools are ignored without being named."""

    @property
    def staging_dir(self) -> Path:
        """The staging folder in use."""
        return self.staging or self.sync.parent / f".fawkesd-staging-{self.sync.name}"


class WatchSettings(_Keys):
    """How new photos are noticed."""

    settle_s: Annotated[Number, Field(le=3600)] = 3.0
    """Seconds (above 0, at most 3600) a photo must be left alone before it is read. Exporters write a
    file, close it, and open it again for its metadata; too short a wait only costs a second look."""

    order: QueueOrder = QueueOrder.NEWEST
    """Which of the waiting photos goes first, by the time its file was last changed: newest or oldest.
    With newest, today's photos do not wait for a backlog of years."""

    rescan_s: Annotated[Number, Field(le=86400)] = 300.0
    """Seconds (above 0, at most 86400) between full looks at the outboxes. Change events can get lost, a
    full look cannot; each one only lists names and times, so it is cheap."""

    poll_s: Annotated[Number, Field(le=86400)] = 15.0
    """Seconds (above 0, at most 86400) between looks at an outbox on a network drive, or where the
    system's limit of watched folders is reached: no change events come from there. Very large folders
    are looked at less often."""


_DEVICE = "(auto|cpu|cuda(:[0-9]+)?)"


class EngineConfig(_Keys):
    """How faces are cloaked."""

    device: Annotated[Text, Field(pattern=rf"^{_DEVICE}(,{_DEVICE})*$")] = "auto"
    """auto, cpu, cuda or cuda:N (the N-th graphics card, from 0). auto takes CUDA if it works, else the CPU.
    Several with commas between them, such as cuda:0,cuda:1, have an engine each, which work at the same time;
    each needs memory of its own."""

    mode: ModeName = DEFAULT_MODE
    """quick, standard or strong: how much time a photo takes and how much of a cloak may show, for how much
    protection. standard is hard to see; strong protects far better against recognisers nobody tried, and
    shows. The README has the figures."""

    extractors: tuple[Text, ...] = ()
    """Face recognisers a cloak is computed against; dlib must be among them, it also tells people apart. []
    is the best set that is on disk (see `fawkesd models list`); several different ones protect better
    against recognisers nobody tried. `onnx:FILE` is one of your own."""

    models_dir: Place | None = None
    """Folder of the face recognisers that `fawkesd models fetch` brought. null is ~/.local/share/fawkesd/models, or
    what $FAWKESD_MODELS or $XDG_DATA_HOME say; a service does not see the variables of your shell. It must not be,
    hold or lie in an outbox, a sync or a staging folder."""

    jpeg_quality: Annotated[Whole, Field(ge=90, le=100)] = 95
    """Lowest quality of published JPEG files, 90 to 100; a better original raises it. Below 90 the
    compression removes part of the protection, above 95 files only grow."""

    batch_photos: Annotated[Whole, Field(ge=1, le=256)] = 16
    """Waiting photos worked on together at most, 1 to 256. More is faster and needs more memory."""

    threads: Annotated[Whole, Field(ge=0, le=1024)] = 0
    """Processor threads for arithmetic, 0 to 1024; 0 is all cores, or one beside a graphics card."""

    nice: Annotated[Whole, Field(ge=0, le=19)] = 0
    """How much the engine gives way to other programs, 0 to 19, as the command `nice` counts. The installed service
    has 10 as a whole, so that only a larger number changes anything there."""

    max_gpu_memory_gib: Annotated[Number, Field(ge=1, le=1024)] | None = None
    """GiB of a graphics card's memory that the engine may use, 1 to 1024, besides what CUDA itself takes; null
    is all of it. Where it does not suffice, fewer photos are worked on together."""

    idle_unload_s: Annotated[Number, Field(le=604800)] | None = 600.0
    """Seconds (above 0, at most 604800, a week) without a photo after which the engine is unloaded, so that other
    programs have its memory. The next photo waits some seconds until it is loaded again. null is never."""

    quiet_hours: HoursText | None = None
    """Hours of the day, such as "23:00-07:00", in which no photo is begun: photos wait, and what is in work is
    finished. They are local time, and may go across midnight. null is none."""

    photo_timeout_s: Annotated[Number, Field(le=86400)] = 900.0
    """Seconds (above 0, at most 86400) without a sign of progress on a photo after which the engine
    counts as hung and is restarted. A large group photo on a slow processor takes minutes."""

    def to_engine(self) -> EngineSettings:
        """Return the same settings as an engine takes them that is alone, on the first device."""
        return self._on(self.device.split(",")[0], self.threads)

    def to_engines(self) -> list[EngineSettings]:
        """Return the same settings as the engine of each device takes them; those on the processor share its cores."""
        devices = self.device.split(",")
        on_processor = sum(not device.startswith("cuda") for device in devices)
        shared = max(1, len(os.sched_getaffinity(0)) // on_processor) if on_processor > 1 else 0
        return [self._on(device, self.threads or shared) for device in devices]

    def _on(self, device: str, threads: int) -> EngineSettings:
        return replace(
            EngineSettings.of_mode(self.mode),
            extractors=self.extractors,
            jpeg_quality=self.jpeg_quality,
            device=device,
            threads=threads,
            models_dir=self.models_dir,
            max_gpu_memory_gib=self.max_gpu_memory_gib,
        )

    @property
    def quiet_now(self) -> QuietHours | None:
        """The quiet hours, if it is within them."""
        hours = QuietHours.parse(self.quiet_hours) if self.quiet_hours else None
        return hours if hours and hours.cover(time_of_day()) else None

    @property
    def ensemble(self) -> tuple[str, ...]:
        """The recognisers a cloak is computed against, as named or as found on disk."""
        return self.extractors or catalog.best_on_disk(self.models_folder)

    @property
    def models_folder(self) -> Path:
        """The folder of fetched models in use."""
        return self.models_dir or catalog.default_folder()


class RetrySettings(_Keys):
    """What happens when a photo fails for a reason that may pass, such as a full disk."""

    first_s: Annotated[Number, Field(le=86400)] = 5.0
    """Seconds (above 0, at most 86400) before the first new try; each further wait is twice as long."""

    longest_s: Annotated[Number, Field(le=604800)] = 3600.0
    """Longest wait between two tries, seconds, from first_s to 604800 (a week)."""

    attempts: Annotated[Whole, Field(ge=1, le=1000)] = 5
    """Tries, 1 to 1000, before the photo is held with its reason and shown by `fawkesd status`."""

    @model_validator(mode="after")
    def _check_waits(self) -> Self:
        if self.longest_s < self.first_s:
            raise ValueError("longest_s is below first_s; the longest wait must be the longer one")
        return self


class HookSettings(_Keys):
    """Programs that are told what happens."""

    on_published: Command = ()
    """Program and arguments, as a list, run after each published photo; [] is none. No shell reads it. It
    finds FAWKESD_EVENT, FAWKESD_USER, FAWKESD_PHOTO and FAWKESD_OUTPUT in its environment."""

    on_held: Command = ()
    """The same after each photo that is held; FAWKESD_REASON says why, and there is no FAWKESD_OUTPUT."""

    limit_s: Annotated[Number, Field(le=3600)] = 30.0
    """Seconds (above 0, at most 3600) after which such a program is ended. They run one at a time."""

    desktop: Annotated[bool, Field(strict=True), AfterValidator(validators.showable)] = False
    """Whether changes of the state are shown on the desktop (with notify-send, at most one a minute):
    photos held, a user paused or publishing again, a backlog done. Only for a service of your own session."""


class Settings(_Keys):
    """The whole configuration of fawkesd."""

    version: Literal[1] = 1
    """Version of this file's layout; 1 is the only one."""

    state_dir: Annotated[
        Place, Field(validate_default=True, json_schema_extra={"default": "~/.local/state/fawkesd"})
    ] = Field(default_factory=default_state_dir)
    """Private folder of the service: its record of photos and each person's fixed identity. Include it in
    your backups: a lost identity cannot be made again. It is created when missing."""

    users: Annotated[tuple[UserSettings, ...], Field(min_length=1)]
    """The people whose photos are cloaked, one entry each; only this group must be written, every other
    key may be left out and then has the value shown here."""

    watch: WatchSettings = WatchSettings()
    """How new photos are noticed."""

    engine: EngineConfig = EngineConfig()
    """How faces are cloaked."""

    retry: RetrySettings = RetrySettings()
    """What happens when a photo fails for a reason that may pass, such as a full disk."""

    hooks: HookSettings = HookSettings()
    """Programs that are told what happens."""

    def user(self, name: str) -> UserSettings | None:
        """Return the user of that name, if there is one."""
        return next((user for user in self.users if user.name == name), None)

    def request(self, user: str, data: bytes) -> Request:
        """Return what the engine shall do with a photo of one of the users."""
        theirs = self.user(user)
        assert theirs is not None, "only users have outboxes"
        return Request(
            data,
            user,
            only_mine=theirs.faces == "mine",
            publish_faceless=theirs.no_face == "publish",
            metadata=theirs.metadata.to_engine(),
            heic=HeicAs(theirs.heic),
        )

    @property
    def targets_dir(self) -> Path:
        """Folder of the users' fixed identities."""
        return self.state_dir / "targets"
