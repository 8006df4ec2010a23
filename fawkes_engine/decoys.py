"""Decoys: photos of somebody else whose face is moved toward a user's own, for a second, "Sybil", account.

A tracker with clean photos of a user beside the cloaked ones finds new photos of the user near the clean ones.
Decoys lie there too, under another name (Shan et al. 2020, section 7). The optimiser is the cloak's, with another aim.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fawkes_engine.cloak.optimise import Aim
from fawkes_engine.errors import NoDecoy, NoFace, Refusal
from fawkes_engine.extractors import KNOWN_BY
from fawkes_engine.identity.people import SAME_PERSON_COSINE, most_frequent
from fawkes_engine.identity.targets import Pool
from fawkes_engine.pipeline.batching import each, groups, no_sign, or_refusal, together
from fawkes_engine.pipeline.draft import Draft
from fawkes_engine.pipeline.photos import Course, Pipeline
from fawkes_engine.pipeline.work import Goal, Work
from fawkes_engine.pipeline.write import write
from fawkes_engine.types import Decoy, EngineSettings, MetadataPolicy, Request, TargetStore

DECOY = Aim(target_weight=2.0, own_weight=0.0, near_target=0.95, away_from_own=1.0)
# metadata could link the second account to the first
_NO_METADATA = MetadataPolicy(all=False)


@dataclass(frozen=True, slots=True)
class Likeness:
    """A user's clean face. vectors: extractor -> (n, D), unit embeddings, one per photo that shows the user."""

    user: str
    vectors: Mapping[str, Tensor]

    @property
    def photos(self) -> int:
        """How many photos showed the user."""
        return len(next(iter(self.vectors.values())))

    def mean(self) -> Goal:
        """Mean embedding; generalises better than single photos."""
        return Goal(self.user, {name: F.normalize(v.mean(dim=0), dim=0) for name, v in self.vectors.items()})


class DecoyEngine:
    """Makes decoys. It adds nobody to the targets; keep one per device and process, as with `Engine`.

    Raises on construction:
        EngineError: unknown extractor or device. WeightsError: weights missing or wrong.
    """

    def __init__(self, settings: EngineSettings, targets: TargetStore) -> None:
        self._pipeline = Pipeline.load(settings, targets, Pool.load())

    def likeness(self, user: str, photos: Iterable[bytes]) -> Likeness:
        """Learn a user's clean face from photos, some of which may show others or nobody, or be unusable.

        For a known user it is the face the user is recognised by; otherwise the one that most of the photos show.

        Raises:
            NoFace: none shows the user.
        """
        identifier = self._pipeline.identifier
        seen: list[dict[str, Tensor]] = []
        for data in photos:
            work = or_refusal(self._pipeline.open, Request(data, user))
            if isinstance(work, Refusal):
                continue
            faces = list(range(len(work.faces)))
            if identifier.people.target(user):
                faces = [i for i in faces if identifier.known(work, i) == user]
            seen += [{name: rows[i] for name, rows in work.clean_embeddings.items()} for i in faces[:1]]
        if not seen:
            raise NoFace(f"none of the photos shows {user}; give others, or fewer that show somebody else")
        rows = {name: torch.stack([face[name] for face in seen]) for name in seen[0]}
        theirs = torch.from_numpy(most_frequent({KNOWN_BY: rows[KNOWN_BY].cpu().numpy()}))
        return Likeness(user, {name: vectors[theirs] for name, vectors in rows.items()})

    def decoys(self, photos: Sequence[bytes], like: Likeness) -> list[Decoy | Refusal]:
        """Move the one face of each photo toward a user's; one result per photo, in order.

        A photo is refused if it does not show exactly one face, shows the user, or came no nearer to the user.
        """
        pipeline = self._pipeline
        settings = pipeline.settings
        turns = pipeline.ensemble.turns(settings.second_turns)
        course = Course(turns, DECOY, settings.steps, settings.budget)
        cloak = partial(pipeline.cloak, course=course, on_step=no_sign)
        draft = partial(self._draft, goal=like.mean())
        requests = [Request(photo, like.user, metadata=_NO_METADATA) for photo in photos]
        results: list[Decoy | Refusal] = []
        for group in groups(requests):
            started = time.perf_counter()
            drafts = together(cloak, each(draft, group))
            opened = sum(isinstance(draft, Draft) for draft in drafts)
            seconds = (time.perf_counter() - started) / max(1, opened)
            results += each(partial(self._finish, seconds=seconds), drafts)
        return results

    def _draft(self, request: Request, goal: Goal) -> Draft:
        work = self._pipeline.open(request)
        if len(work.faces) != 1:
            raise NoDecoy(f"it shows {len(work.faces)} faces; a decoy shows one person")
        if float(work.clean_embeddings[KNOWN_BY][0] @ goal.vectors[KNOWN_BY]) >= SAME_PERSON_COSINE:
            raise NoDecoy(f"it shows {goal.identity}; a decoy shows somebody else")
        known = replace(work, people=[goal.identity], goals=[goal])
        return self._pipeline.draft(known, self._pipeline.settings.budget)

    def _finish(self, draft: Draft, *, seconds: float) -> Decoy:
        """Encode and verify. Raises NotProtected or NoDecoy."""
        started = time.perf_counter()
        written = write(draft)
        (face,) = self._pipeline.verifier.measure(draft, written, _nearer)
        return Decoy(
            data=written.data,
            suffix=draft.work.photo.suffix,
            face=face,
            cosine_before=_likenesses(draft.work, draft.work.clean_embeddings),
            seconds=seconds + time.perf_counter() - started,
        )


def _nearer(work: Work, embeddings: Sequence[Mapping[str, Tensor]]) -> None:
    """Raise NoDecoy if any recogniser finds the face no nearer to the user than before."""
    before = _likenesses(work, work.clean_embeddings)
    for after in (_likenesses(work, embedded) for embedded in embeddings):
        for name in after:
            if not after[name] > before[name]:
                raise NoDecoy(
                    f"according to {name} it looks no more like {work.goals[0].identity} than before"
                )


def _likenesses(work: Work, embedded: Mapping[str, Tensor]) -> dict[str, float]:
    goal = work.goals[0].vectors
    return {n: float(rows[0] @ goal[n]) for n, rows in embedded.items() if n in goal}
