"""The settings model: every key of the configuration, strictly validated.

The docstring below each key is its documentation: it becomes the comment in the reference configuration and
the description in the JSON schema (see reference.py), so it is written for users.
This module is long because all of that documentation is here.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from daemon.config import cluster, validators
from daemon.config.address import Address
from daemon.config.quiet_hours import QuietHours, time_of_day
from daemon.model import QueueOrder
from fawkes_engine import DEFAULT_MODE, EngineSettings, HeicAs, MetadataPolicy, ModeName, Request
from fawkes_engine.weights import catalog


def _xdg(variable: str, fallback: str) -> Path:
    base = Path(os.environ.get(variable, ""))
    return (
        base if base.is_absolute() else Path.home() / fallback
    )  # the XDG specification ignores relative values


def default_state_dir() -> Path:
    """$XDG_STATE_HOME/fawkesd, else ~/.local/state/fawkesd."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "fawkesd"


def default_config_path() -> Path:
    """$XDG_CONFIG_HOME/fawkesd/fawkesd.yaml, else ~/.config/fawkesd/fawkesd.yaml."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "fawkesd" / "fawkesd.yaml"


def _resolve(path: Path, info: ValidationInfo) -> Path:
    """Make a path absolute and resolve symlinks: a watch on a symlink never fires, and symlinks hide overlaps."""
    base = info.context["folder"] if info.context else Path()
    try:
        return Path(base / path.expanduser()).resolve()
    except (OSError, RuntimeError) as exc:  # RuntimeError: unknown ~user, or a symlink loop
        raise ValueError(f"{path} cannot be resolved ({exc}); correct the path") from exc


Written = Annotated[Path, AfterValidator(validators.local_path), AfterValidator(_resolve)]
Place = Annotated[Written, AfterValidator(validators.possible_folder)]
PhotoFolder = Annotated[Written, AfterValidator(validators.photo_folder)]
UserName = Annotated[
    str, Field(strict=True, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")
]
Text = Annotated[str, Field(strict=True, min_length=1)]
Command = Annotated[tuple[Text, ...], AfterValidator(validators.runnable)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


ListenText = Annotated[str, Field(strict=True), AfterValidator(validators.listen_address)]
HostName = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9._-]{1,253}$")]
HoursText = Annotated[str, Field(strict=True), AfterValidator(validators.hours)]


Pattern = Annotated[str, Field(strict=True, min_length=1), AfterValidator(validators.ignore_pattern)]


class _Keys(BaseModel):
    # reference.py reads the docstrings of keys: Pydantic would read this file each time that the settings are loaded
    model_config = ConfigDict(frozen=True, extra="forbid")


class MetadataSettings(_Keys):
    """Which metadata a published photo keeps."""

    gps: Literal["strip", "keep"] = "strip"
    """strip or keep: the place where the photo was taken."""

    camera: Literal["keep", "strip"] = "keep"
    """keep or strip: camera, lens and exposure."""

    all: Literal["keep", "strip"] = "keep"
    """keep or strip: strip removes everything but the colour profile and the resolution, whatever the two keys
    above say."""

    def to_engine(self) -> MetadataPolicy:
        """Return the same policy as the engine's type."""
        return MetadataPolicy(gps=self.gps == "keep", camera=self.camera == "keep", all=self.all == "keep")


class UserSettings(_Keys):
    """One user: where their photos arrive and where the cloaked copies go."""

    name: UserName
    """The person's name: letters A-Z or a-z, digits, . _ -, at most 64. It selects the target identity
    that all of this person's photos are moved toward, so keep it: a new name means a new target."""

    outboxes: Annotated[tuple[PhotoFolder, ...], Field(min_length=1)]
    """Folders the photos are exported to. They are watched with their subfolders and never changed.
    Symbolic links in them are not followed. One that is missing, such as on an unplugged drive, is waited for and
    never created. ~ is your home; a relative path starts at the folder of this file."""

    sync: PhotoFolder
    """Folder that the sync tool uploads. The cloaked copies appear in it under the same names. It must
    not equal, contain or be inside any other folder named here. While it is missing, photos wait; it is never
    created."""

    staging: PhotoFolder | None = None
    """Folder where copies are completed before they appear in the sync folder; it must be on the same disk.
    null: a folder beside the sync folder, which is right unless your sync tool uploads that place too."""

    faces: Literal["all", "mine"] = "all"
    """all or mine: whose faces are cloaked. all is safer: it also cloaks a face of yours that is not recognised as
    yours, such as one seen from the side. mine leaves other people as they are."""

    no_face: Literal["hold", "publish"] = "hold"
    """hold or publish: what happens to a photo in which no face is found. hold is safer, since a face may have
    been missed; publish re-encodes it without the metadata that is never kept."""

    review: Annotated[bool, Field(strict=True)] = False
    """true or false: whether a finished photo waits in the state folder until somebody has looked at it. Nothing of it
    reaches the sync folder before `fawkesd approve`; `fawkesd reject` keeps it away."""

    renamed: Literal["move", "keep"] = "move"
    """move or keep: what happens to the published copy when a photo or a folder in an outbox is renamed or moved.
    move: it moves with the photo, unless you changed it. keep: it stays, beside a copy under the new name."""

    metadata: MetadataSettings = MetadataSettings()
    """Which metadata a published photo keeps. Rights, caption, dates and rating are always kept, unless all is
    strip. Thumbnails, serial numbers, owner names, face regions, persons, keywords and maker notes never are."""

    heic: Literal["jpeg", "heic"] = "jpeg"
    """jpeg or heic: the format in which HEIC and HEIF photos (from phones) are published. JPEG preserves a cloak
    better and opens everywhere."""

    ignore: tuple[Pattern, ...] = ()
    """Files in the outboxes to ignore, as gitignore patterns: "raw/", "*_draft.jpg", "!keep_draft.jpg". They match
    as in git: upper and lower case differ, and nothing below an ignored folder can be brought back. Ignored
    anyway: temporary files of exporters and sync tools, hidden folders, previews and trash of NAS. `fawkesd
    status` counts the photos that are ignored."""

    @property
    def staging_dir(self) -> Path:
        """The configured staging folder, or the default one."""
        return self.staging or self.sync.parent / f".fawkesd-staging-{self.sync.name}"


class WatchSettings(_Keys):
    """How new photos are noticed."""

    settle_s: Annotated[Number, Field(le=3600)] = 3.0
    """Debounce time: seconds (above 0, at most 3600) a file must stay unchanged before it is read. Exporters
    write a file, close it, and open it again for its metadata; too short a time only costs a second read."""

    order: QueueOrder = QueueOrder.NEWEST
    """newest or oldest: which waiting photo goes first, by modification time. With newest, today's photos do not
    wait for a backlog of years."""

    rescan_s: Annotated[Number, Field(le=86400)] = 300.0
    """Seconds (above 0, at most 86400) between full scans of the outboxes. Change events can get lost; a scan
    finds what they missed. It only lists names and times, so it is cheap."""

    poll_s: Annotated[Number, Field(le=86400)] = 15.0
    """Seconds (above 0, at most 86400) between polls of an outbox from which no change events arrive: one on a
    network drive or with such a drive mounted below it, or any while the system's limits of inotify are reached.
    Very large folders are polled less often."""


_DEVICE = r"(auto|cpu|cuda(:[0-9]+)?|cluster:[^,\s]+)"


class EngineConfig(_Keys):
    """How faces are cloaked."""

    device: Annotated[Text, Field(pattern=rf"^{_DEVICE}(,{_DEVICE})*$"), AfterValidator(cluster.devices)] = (
        "auto"
    )
    """auto, cpu, cuda or cuda:N (the N-th graphics card, from 0). auto uses CUDA if it works, else the CPU,
    with two engines where `fawkesd bench` has shown that they gain. Several, separated by commas (cuda:0,cuda:1),
    run one engine each in parallel; each needs memory of its own. cluster:tls://HOST:PORT is other machines
    (docs/cluster.md), alone or beside others."""

    certificates: Place | None = None
    """Folder with ca.pem, cert.pem and key.pem of this machine for a cluster: a copy of the folder `coordinator` that
    `fawkesd cluster certs` has made. null: the folder `cluster` in the state folder."""

    mode: ModeName = DEFAULT_MODE
    """quick, standard or strong: trades time and visibility for protection. All change how a face looks, strong
    most, and strong protects best against unknown recognisers. The README has the figures."""

    extractors: tuple[Text, ...] = ()
    """Face recognisers a cloak is computed against. dlib must be among them, since it also tells people apart.
    []: the best set on disk (see `fawkesd models list`); several different ones protect better against
    unknown recognisers. `onnx:FILE` is one of your own. Those fetched with --accept-licence are used only if named."""

    models_dir: Place | None = None
    """Folder of the face recognisers downloaded by `fawkesd models fetch`. null: ~/.local/share/fawkesd/models, or
    as $FAWKESD_MODELS or $XDG_DATA_HOME say; a service does not see the variables of your shell. It must not equal,
    contain or be inside an outbox, a sync or a staging folder."""

    jpeg_quality: Annotated[Whole, Field(ge=90, le=100)] = 95
    """Lowest quality of published JPEG files, 90 to 100; a better original raises it. Below 90, compression
    removes part of the protection; above 95, files only grow."""

    batch_photos: Annotated[Whole, Field(ge=1, le=256)] = 16
    """Largest number of photos processed in one batch, 1 to 256. More is faster and needs more memory."""

    threads: Annotated[Whole, Field(ge=0, le=1024)] = 0
    """CPU threads for arithmetic, 0 to 1024. 0: all cores, or one if a graphics card is used."""

    nice: Annotated[Whole, Field(ge=0, le=19)] = 0
    """How much the engine yields to other programs, 0 to 19, as for the command `nice`. The installed service
    already runs at 10, so that only a larger number has an effect there."""

    max_gpu_memory_gib: Annotated[Number, Field(ge=1, le=1024)] | None = None
    """GiB of a graphics card's memory that the engine may use, 1 to 1024, besides what CUDA itself takes. null:
    all of it. If it is not enough, batches are smaller."""

    idle_unload_s: Annotated[Number, Field(le=604800)] | None = 600.0
    """Seconds (above 0, at most 604800, a week) without a photo after which the engine is unloaded, to free its
    memory for other programs. The next photo waits some seconds until it is loaded again. null: never."""

    quiet_hours: HoursText | None = None
    """Hours of the day, such as "23:00-07:00", in which no photo is started: new photos wait, those in progress
    are finished. Local time; may cross midnight. null: none."""

    photo_timeout_s: Annotated[Number, Field(le=86400)] = 900.0
    """Seconds (above 0, at most 86400) without progress on a photo after which the engine counts as hung
    and is restarted. A large group photo on a slow processor takes minutes."""

    def to_engine(self) -> EngineSettings:
        """Return the settings of a single engine on this machine, on the first device."""
        return self._on((self._own_devices or ["auto"])[0], self.threads)

    def to_engines(self) -> list[EngineSettings]:
        """Return the settings of each engine on this machine; engines on the CPU share its cores."""
        devices = self._own_devices
        on_processor = sum(not device.startswith("cuda") for device in devices)
        shared = max(1, len(os.sched_getaffinity(0)) // on_processor) if on_processor > 1 else 0
        return [self._on(device, self.threads or shared) for device in devices]

    @property
    def scheduler(self) -> str | None:
        """The address of the cluster's scheduler, such as tls://192.168.1.20:8786; None without a cluster."""
        return next(iter(cluster.clusters(self.device)), None)

    @property
    def _own_devices(self) -> list[str]:
        return [one for one in self.device.split(",") if not one.startswith(cluster.PREFIX)]

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
        """The quiet hours if the present time is within them, else None."""
        hours = QuietHours.parse(self.quiet_hours) if self.quiet_hours else None
        return hours if hours and hours.cover(time_of_day()) else None

    @property
    def ensemble(self) -> tuple[str, ...]:
        """The recognisers a cloak is computed against: those configured, else the best on disk."""
        return self.extractors or catalog.best_on_disk(self.models_folder)

    @property
    def models_folder(self) -> Path:
        """The configured folder of fetched models, or the default one."""
        return self.models_dir or catalog.default_folder()


class RetrySettings(_Keys):
    """Retries with backoff when a photo fails for a reason that may pass, such as a full disk."""

    first_s: Annotated[Number, Field(le=86400)] = 5.0
    """Seconds (above 0, at most 86400) before the first retry; the wait doubles after each one."""

    longest_s: Annotated[Number, Field(le=604800)] = 3600.0
    """Longest wait between two attempts, in seconds, from first_s to 604800 (a week)."""

    attempts: Annotated[Whole, Field(ge=1, le=1000)] = 5
    """Attempts, 1 to 1000, before the photo is held; `fawkesd status` then shows it with the reason."""

    @model_validator(mode="after")
    def _check_waits(self) -> Self:
        if self.longest_s < self.first_s:
            raise ValueError("longest_s is below first_s; raise longest_s or lower first_s")
        return self


class HookSettings(_Keys):
    """Programs run on events, and desktop notifications."""

    on_published: Command = ()
    """Program and arguments, as a list, run after each published photo. []: none. It is run without a shell,
    with FAWKESD_EVENT, FAWKESD_USER, FAWKESD_PHOTO and FAWKESD_OUTPUT in its environment."""

    on_held: Command = ()
    """The same for each held photo: FAWKESD_REASON says why it is held, and FAWKESD_OUTPUT is not set."""

    on_review: Command = ()
    """The same for each photo that is finished and waits for review."""

    limit_s: Annotated[Number, Field(le=3600)] = 30.0
    """Timeout in seconds (above 0, at most 3600) after which such a program is killed. They run one at a time."""

    desktop: Annotated[bool, Field(strict=True), AfterValidator(validators.showable)] = False
    """true or false: show desktop notifications (with notify-send, at most one a minute) when photos are held, a
    user is paused or publishing again, or a backlog is done. Only for a service in your own session."""


class NotifySettings(_Keys):
    """Notifications by ntfy, mail, Matrix and others, which need `pip install "fawkesd[notify]"` (docs/notify.md)."""

    urls_file: Written | None = None
    """File that only you can open (chmod 600), with a URL of Apprise on each line: where `fawkesd notify`, run once a
    minute by the timer of an installed service, sends how many photos are held or in review, who is paused, and that a
    backlog is done. null: nowhere."""


class MetricsSettings(_Keys):
    """Metrics for Prometheus (docs/scripts.md)."""

    prometheus_file: Annotated[Written, AfterValidator(validators.metrics_file)] | None = None
    """File named *.prom in the folder of the node exporter's textfile collector, such as
    /var/lib/prometheus/node-exporter/fawkesd.prom: an installed service writes it once a minute. null: none."""


class WebSettings(_Keys):
    """The web page of the service, which needs `pip install "fawkesd[web]"`."""

    listen: ListenText | None = None
    """Address and port, such as 127.0.0.1:8377, at which `fawkesd run` shows the page, or unix:/PATH for a socket that
    only your account can open. null: no page beside the service (`fawkesd web` shows one by itself). An address that
    other machines can reach needs a password; what they send and see is not encrypted."""

    password_hash: (
        Annotated[Text, Field(pattern=r"^scrypt:[A-Za-z0-9+/=]{24}:[A-Za-z0-9+/=]{44}$")] | None
    ) = None
    """What `fawkesd web --set-password` prints. null: no password, only the links of `fawkesd web --link`, each of
    which opens the page once."""

    hosts: tuple[HostName, ...] = ()
    """Names besides localhost and IP addresses by which browsers may ask for the page, such as nas.local. Any other
    name is refused, since it may be that of a web site which points here."""

    @property
    def address(self) -> Address:
        """Where the page is, or would be."""
        return Address.parse(self.listen or "127.0.0.1:8377")

    @model_validator(mode="after")
    def _check_password(self) -> Self:
        if not self.address.is_loopback and self.password_hash is None:
            raise ValueError(
                f"other machines can reach {self.listen}: set password_hash to what `fawkesd web --set-password` "
                "prints, or listen at 127.0.0.1"
            )
        return self


class Settings(_Keys):
    """The whole configuration of fawkesd."""

    version: Literal[1] = 1
    """Version of this file's format; 1 is the only one."""

    state_dir: Annotated[
        Place, Field(validate_default=True, json_schema_extra={"default": "~/.local/state/fawkesd"})
    ] = Field(default_factory=default_state_dir)
    """Private folder of the service: its record of photos and each person's target identity. Include it in
    your backups: nothing is published for a person whose target is lost. The folder is created if
    missing."""

    users: Annotated[tuple[UserSettings, ...], Field(min_length=1)]
    """The people whose photos are cloaked, one entry each. Only this group is required; every other key
    defaults to the value shown here."""

    watch: WatchSettings = WatchSettings()
    """How new photos are noticed."""

    engine: EngineConfig = EngineConfig()
    """How faces are cloaked."""

    retry: RetrySettings = RetrySettings()
    """Retries with backoff when a photo fails for a reason that may pass, such as a full disk."""

    hooks: HookSettings = HookSettings()
    """Programs run on events, and desktop notifications."""

    notify: NotifySettings = NotifySettings()
    """Notifications by ntfy, mail, Matrix and others, which need `pip install "fawkesd[notify]"` (docs/notify.md)."""

    metrics: MetricsSettings = MetricsSettings()
    """Metrics for Prometheus (docs/scripts.md)."""

    web: WebSettings = WebSettings()
    """The web page of the service, which needs `pip install "fawkesd[web]"`."""

    def user(self, name: str) -> UserSettings | None:
        """Return the user of that name, or None."""
        return next((user for user in self.users if user.name == name), None)

    def request(self, user: str, data: bytes) -> Request:
        """Return the engine's request for a photo of one of the users."""
        configured = self.user(user)
        assert configured is not None, "only users have outboxes"
        return Request(
            data,
            user,
            only_mine=configured.faces == "mine",
            publish_faceless=configured.no_face == "publish",
            metadata=configured.metadata.to_engine(),
            heic=HeicAs(configured.heic),
        )

    @property
    def certificates(self) -> Path:
        """This machine's folder of certificates for a cluster."""
        return self.engine.certificates or self.state_dir / "cluster"

    @property
    def targets_dir(self) -> Path:
        """Folder of the target identities."""
        return self.state_dir / "targets"
