"""For tests of arithmetic, which must pass on every CPU; and of what must not depend on the other photos in a batch.

How a sum is rounded depends on the order it is added up in, and that on the CPU's instructions, the number of threads
and the version of a library. So what a test asserts of numbers is one of these:

- equal bits, only where the product promises them: the same on the same machine with the same number of threads, alone
  or in a batch, now or again; or where nothing is rounded, as in copies, masks, and sums of a few whole numbers;
- as near to another way of computing the same as rounding allows. In float32 that holds for values, which change as
  little as their inputs, and not for gradients: each of millions of maxima and kinks passes a gradient one way or the
  other, and where two values are as good as equal rounding decides which. Gradients are compared in float64, where of
  10^7 pairs the nearest are 10^-7 apart and rounding moves them by 10^-13, or on inputs without near ties;
- a bound that the product keeps by itself, such as the budget of a published file, or an effect (a cosine that falls)
  with a margin several times as large as what other instructions change in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fawkes_engine.extractors import Extractor

ROOT = Path(__file__).parents[1]


ENGINE_THREADS = int(os.environ["OMP_NUM_THREADS"])  # of an engine in a test: those of the test run


# Keeps PyTorch and oneDNN to AVX2 on a CPU with more, as `make numeric` does
AVX2_ONLY = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def said_with_avx2(program: str) -> list[str]:
    """Words that a program prints in a process that uses AVX2 at most."""
    command, environment = [sys.executable, "-c", program], {**os.environ, **AVX2_ONLY}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


@contextmanager
def in_float64() -> Iterator[None]:
    """Build networks in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def assert_equal_but_for_rounding(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Two ways of computing the same in float64, vector by vector.

    A network of 100 layers, each with sums of 10^4 products, may be wrong by 100 x 10^4 x 2^-53 = 10^-10 at the very
    worst, and is by 10^-15 (measured); one maximum of LightCNN that passes its gradient to the wrong side is 10^-4.
    """
    assert ours.dtype == theirs.dtype == torch.float64
    ours, theirs = ours.flatten(1), theirs.flatten(1)
    assert bool(((ours - theirs).norm(dim=1) < 1e-9 * theirs.norm(dim=1)).all())


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
