"""Whose the faces of photos are, and from where to where each is moved."""

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
    """Names faces by what is known of people, and gets to know the people by their faces.

    people: everyone who is known. extractors: their names. device: where embeddings are compared.
    """

    def __init__(self, people: People, extractors: Sequence[str], device: torch.device) -> None:
        self.people = people
        self._extractors = extractors
        self._device = device

    def meet_users(self, works: Sequence[Work]) -> None:
        """Give every user of these photos who has no target one, from the face most of the user's photos show."""
        by_user = defaultdict(list)
        for work in works:
            if work.faces:
                by_user[work.request.user].append(work)
        for user, theirs in by_user.items():
            if self.people.target(user) is None:
                self._meet(user, theirs)

    def enroll(self, user: str, works: Sequence[Work]) -> int:
        """Learn a user's face: of the photos' largest ones, that which most show. Returns how many show it."""
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
        """Return whose a face is, if it is known."""
        return self.people.know(_known_by(work, index))

    def identified(self, work: Work) -> Work:
        """Name every face, strangers too, and give each a goal; with only_mine, leave theirs as they are.

        Raises:
            NoFace: only the user's face is wanted, and none is known as that.
        """
        people = self._names(work)
        work = replace(work, people=people, goals=list(map(self._goal, people)))
        if not work.request.only_mine:
            return work
        mine = [i for i, person in enumerate(people) if person == work.request.user]
        if not mine and not work.request.publish_faceless:
            raise NoFace(f"none of the faces is known as {work.request.user}'s, so nothing was cloaked")
        return work.only(mine)

    def _names(self, work: Work) -> list[str]:
        """Name every face, strangers too, who are met by it, and remember what each looks like."""
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
        """Return what a face is moved away from: halfway between what it looks like here and in all photos.

        A tracker is asked about other photos of the person, and less of what it knows a person by changes from photo
        to photo than of an embedding. Away from one photo, much of a cloak would work on its light and its pose.
        """
        own = {}
        for name, rows in work.clean_embeddings.items():
            mean = self.people.mean_face(work.people[index], name)
            usual = rows[index] if mean is None else torch.from_numpy(mean).to(self._device)
            own[name] = F.normalize(rows[index] + F.normalize(usual, dim=0), dim=0)
        return own


def _known_by(work: Work, index: int) -> dict[str, Vectors]:
    """Return a face's clean embedding as people are known by it: KNOWN_BY -> (D,)."""
    return {KNOWN_BY: work.clean_embeddings[KNOWN_BY][index].cpu().numpy()}


def _clean_face(work: Work, index: int) -> dict[str, Vectors]:
    """Return a face's clean embeddings: extractor -> (D,)."""
    return {name: rows[index].cpu().numpy() for name, rows in work.clean_embeddings.items()}
