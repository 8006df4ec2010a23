#!/bin/sh
# `import torchvision` loads PyTorch's compiler, though the function that needs it says that it avoids just this.
#
# Versions: torch 2.14.1, torchvision 0.29.1 (2026-11-30).
# Likely guess: torch.compile's machinery (torch._dynamo, SymPy, on Linux Triton) is loaded by who compiles. `import torch` does so:
# torch._dynamo is an attribute that is loaded when first asked for. torchvision/ops/roi_align.py wraps its one compiled function in a
# decorator that calls torch.compile only when the function is first used, and its docstring names this very import as what is to be avoided.
# What happens: the same file begins with `from torch._dynamo.utils import is_compile_supported`. So whatever imports torchvision for
# its transforms or for nms (facenet-pytorch, onnx2torch) loads some 860 modules more, 145 MiB and a CPU second in a process that compiles
# nothing; `import torch` itself takes 1.6.
# Output seen: "torch: 0 modules of the compiler; torchvision: 95, sympy True", "1079 modules, 173 MiB, 2.0 CPU s" (of them
# torchvision's own: 220 modules, 16 MiB, 0.14 CPU s)
#
# Makes its own input; installs into a temporary folder; fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
"$folder/venv/bin/python" - <<'PYTHON'
import resource
import sys
import time

import torch


def compiler() -> int:
    """How many of the compiler's modules are loaded."""
    return sum(name.split(".")[:2] == ["torch", "_dynamo"] for name in sys.modules)


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


before, modules, mib, started = compiler(), len(sys.modules), peak_mib(), time.process_time()
import torchvision  # noqa: E402

print(f"torch: {before} modules of the compiler; torchvision: {compiler()}, sympy {'sympy' in sys.modules}")
print(f"{len(sys.modules) - modules} modules, {peak_mib() - mib} MiB, {time.process_time() - started:.1f} CPU s")
assert before == 0, "torch loads its compiler itself now"
assert compiler() > 50, "torchvision loads it no longer"
assert "sympy" in sys.modules
assert sys.modules["torchvision.ops.roi_align"].is_compile_supported.__module__ == "torch._dynamo.utils"
PYTHON
