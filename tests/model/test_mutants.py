"""The table of mutants is true: each protection stands in the sources, and one taken away is missed by its test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from mutation.table import MUTANTS  # noqa: E402 - it is found since now


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_protection_stands_where_the_table_says_and_its_test_is_there(mutant):
    for edit in mutant.edits:
        assert edit.old in (ROOT / edit.file).read_text(encoding="utf-8"), f"bring {mutant.name!r} up to date"
    file, _, test = mutant.test.partition("::")
    assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8") if test else (ROOT / file).exists()


@pytest.mark.parametrize("name", ["drop the stale mark", "count a lease from when its grant was read"])
def test_a_protection_that_is_taken_away_is_missed(name):
    words = [sys.executable, str(ROOT / "scripts" / "mutants.py"), name]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"caught: {name}" in done.stdout
