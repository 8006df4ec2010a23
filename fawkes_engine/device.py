"""The compute device: its choice, threads and memory."""

from __future__ import annotations

import ctypes

import torch

from fawkes_engine.errors import EngineError

# Values of a single image, up to which PyTorch's own code makes a convolution, not oneDNN: `use_mkldnn` in its
# aten/src/ATen/native/Convolution.cpp.
SMALL_IMAGE = 20_480
_LARGE = 3 * 8_000_000  # bytes of a photo's pixels


def chosen(name: str) -> torch.device:
    """Return a device by its name; "auto" is CUDA if it works, else the CPU.

    Raises:
        EngineError: it cannot be used.
    """
    try:
        device = torch.device("cuda" if name == "auto" else name)
        torch.zeros(1, device=device)
        # SSIM is a difference of nearly equal products: with TF32's 10 bits cloaks look more visible than they are
        torch.backends.cuda.matmul.allow_tf32 = False
    except (AssertionError, RuntimeError) as error:
        if name != "auto":
            raise EngineError(f"the device {name!r} cannot be used: {error}") from error
        return torch.device("cpu")
    return device


def faces_together(device: torch.device) -> int:
    """Return the maximum number of faces optimised together.

    A step costs a graphics card about the same for 16 and 64 faces; on a CPU more than 16 cost memory and gain nothing.
    """
    return 64 if device.type == "cuda" else 16


def threads(device: torch.device) -> int:
    """Return how many CPU threads to compute with, 0 for as many as there are cores.

    Beside a graphics card the CPU only has many small operations: 16 photos took 4.5 s with one thread, and
    14.9 s with 16 that waited for each other (H100, 16 cores).
    """
    return 1 if device.type == "cuda" else 0


def limit_memory(device: torch.device, limit_gib: float | None) -> None:
    """Make a graphics card's allocations beyond the limit fail; no effect on the CPU, or if None."""
    if device.type == "cuda" and limit_gib is not None:
        total_bytes = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_gib * 2**30 / total_bytes), device)


def make_room(size: int) -> None:
    """Give what this process has freed back to the system, before more is needed for a photo of so many bytes.

    What networks leave are hundreds of MiB in pieces that nothing as large as the photo fits into. No effect for
    photos of less than 8 MP, and where the C library is not glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if size > _LARGE else None
    if trim is not None:
        trim(0)


def called(device: torch.device) -> str:
    """Return a device's display name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
