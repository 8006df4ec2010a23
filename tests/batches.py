"""For tests of what must not depend on the other faces or photos in a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fawkes_engine.extractors import Extractor


@contextmanager
def two_threads() -> Iterator[None]:
    """Compute on two threads, where sums and convolutions are shared out by the size of the batch."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def assert_independent_of_the_batch(extractor: Extractor, chips: torch.Tensor) -> None:
    """A face's embedding, through which gradients pass, is the same among others (5, 3, P, P) and alone, bit by bit."""
    with two_threads():
        x = chips.requires_grad_()
        assert torch.equal(extractor.embed(x)[3], extractor.embed(x[3:4])[0])
