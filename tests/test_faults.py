"""The list of faults that a watch-folder daemon meets is complete: each has a test with its number."""

from __future__ import annotations

import re
from pathlib import Path

FAULTS = range(1, 43)


def test_every_fault_of_the_list_has_a_test() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_faults_*.py"))

    numbers = {int(number) for number in re.findall(r"def test_fault_(\d+)_", text)}

    assert sorted(set(FAULTS) - numbers) == []
