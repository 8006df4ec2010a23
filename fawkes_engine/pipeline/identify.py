"""Identifies the faces in photos, and sets the embeddings each is moved from and to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fawkes_engine.errors import NoFace
from fawkes_engine.extractors import KNOWN_BY
from fawkes_engine.identity.people import People, most_frequent
from fawkes_engine.identity.targets import Vectors
from fawkes_engine.pipeline.work import Goal, Work


class Identifier:
    """Identifies faces among the people known so far, and learns people from their faces.

    people: everyone known. extractors: names. device: where embeddings are compared.
    """

    def __init__(self, people: People, extractors: Sequence[str], device: torch.device) -> None:
        self.people = people
        self._extractors = extractors
        self._device = device

    def meet_users(self, works: Sequence[Work]) -> None:
        """Give each of these users without a target one, from the face that most of the user's photos show."""
        by_user = defaultdict(list)
        for work in works:
            if work.faces:
                by_user[work.request.user].append(work)
        for user, theirs in by_user.items():
            if self.people.reloaded(user) is None:
                self._meet(user, theirs)

    def enroll(self, user: str, works: Sequence[Work]) -> int:
        """Learn a user's face: the most frequent of the photos' largest faces. Returns how many photos show it."""
        shown = self._meet(user, works)
        for work in shown:
            self.people.see(user, _clean_face(work, 0))
        return len(shown)

    def _meet(self, user: str, works: Sequence[Work]) -> list[Work]:
        largest = np.stack([_known_by(work, 0)[KNOWN_BY] for work in works])
        same = most_frequent({KNOWN_BY: largest})
        shown = [work for work, shows in zip(works, same, strict=True) if shows]
        self.people.meet(user, {KNOWN_BY: largest[same]}, [work.request.data for work in shown])
        return shown

    def known(self, work: Work, index: int) -> str | None:
        """Return the person a face belongs to, if known."""
        return self.people.know(_known_by(work, index))

    def identified(self, work: Work) -> Work:
        """Identify every face, strangers included, and give each a goal; with only_mine, keep only the user's.

        Raises:
            NoFace: with only_mine, none of the faces is the user's.
        """
        people = self._names(work)
        work = replace(work, people=people, goals=list(map(self._goal, people)))
        if not work.request.only_mine:
            return work
        mine = [i for i, person in enumerate(people) if person == work.request.user]
        if not mine and not work.request.publish_faceless:
            raise NoFace(f"none of the faces was recognised as {work.request.user}'s, so nothing was cloaked")
        return work.only(mine)

    def _names(self, work: Work) -> list[str]:
        """Identify every face, registering new strangers, and update each person's mean face."""
        people = []
        for i in range(len(work.faces)):
            face = _known_by(work, i)
            person = self.people.know(face) or self.people.meet_stranger(face, work.request.data)
            self.people.see(person, _clean_face(work, i))
            people.append(person)
        return people

    def _goal(self, person: str) -> Goal:
        """Return a person's target, for the extractors that have one."""
        found = {name: self.people.vector(person, name) for name in self._extractors}
        vectors = {n: torch.from_numpy(v).to(self._device) for n, v in found.items() if v is not None}
        return Goal(self.people.identity(person), vectors)

    def clean_embedding(self, work: Work, index: int) -> dict[str, Tensor]:
        """Return the embedding a face is moved away from: halfway between its own and the person's mean.

        A tracker is queried with other photos of the person, and relies on what varies least between them. Moving
        away from this photo's embedding alone would spend much of the cloak on its lighting and pose.
        """
        own = {}
        for name, rows in work.clean_embeddings.items():
            mean = self.people.mean_face(work.people[index], name)
            usual = rows[index] if mean is None else torch.from_numpy(mean).to(self._device)
            own[name] = F.normalize(rows[index] + F.normalize(usual, dim=0), dim=0)
        return own


def _known_by(work: Work, index: int) -> dict[str, Vectors]:
    """Return a face's clean embedding by the identifying extractor: KNOWN_BY -> (D,)."""
    return {KNOWN_BY: work.clean_embeddings[KNOWN_BY][index].cpu().numpy()}


def _clean_face(work: Work, index: int) -> dict[str, Vectors]:
    """Return a face's clean embeddings: extractor -> (D,)."""
    return {name: rows[index].cpu().numpy() for name, rows in work.clean_embeddings.items()}
