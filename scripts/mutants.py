"""Takes redispool's protections away one by one, in a copy, and sees whether the test that is to miss each fails.

    python scripts/mutants.py               all of them; some minutes
    python scripts/mutants.py stale cancel  those whose names contain one of the words
    python scripts/mutants.py --list        what there is

The exit status is 1 if one survives, or no longer applies to the sources. Needs: pip install 'redispool[test]'.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutation.table import MUTANTS, Mutant
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
COPIED = ("redispool", "tests", "scripts", "pyproject.toml")
FAILED = 1  # pytest's exit status when a test did
LIMIT = 300  # seconds; a mutant that hangs is caught as well


def apply(mutant: Mutant, root: Path) -> None:
    """Make the edits. Raises ValueError if the sources do not say what is to be replaced."""
    for edit in mutant.edits:
        file = root / edit.file
        text = file.read_text(encoding="utf-8")
        if edit.old not in text:
            raise ValueError(f"{edit.file} does not say {edit.old!r} any more")
        file.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def run_tests(root: Path, *tests: str) -> tuple[int, str]:
    """pytest's exit status, and what it said last; FAILED also if it hangs."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    # not in parallel, though the run that this is part of may be
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"REDISPOOL_MODEL_SHRINK": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(words, cwd=root, env=environment, capture_output=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return FAILED, f"nothing after {LIMIT} seconds"
    return done.returncode, done.stdout.decode(errors="replace")[-2000:]


def fate(mutant: Mutant) -> str:
    """What becomes of a mutant: 'caught', or why not."""
    with tempfile.TemporaryDirectory(prefix="redispool-mutant-") as folder:
        root = Path(folder)
        copy(root)
        try:
            apply(mutant, root)
        except ValueError as error:
            return str(error)
        status, _ = run_tests(root, mutant.test)
    if status == FAILED:
        return "caught"
    return "SURVIVED" if status == 0 else f"the test could not be run (pytest's exit status {status})"


def copy(root: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, root)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="of the names of mutants")
    parser.add_argument("--list", action="store_true", help="only tell which there are")
    given = parser.parse_args()
    chosen = [one for one in MUTANTS if not given.words or any(word in one.name for word in given.words)]
    console = Console()
    table = Table("what is taken away", "the test that misses it", "fate", "seconds")
    if given.list:
        for one in chosen:
            table.add_row(one.name, one.test.rpartition("/")[2])
        console.print(table)
        return 0
    with tempfile.TemporaryDirectory(prefix="redispool-mutants-") as folder:
        copy(Path(folder))
        status, said = run_tests(Path(folder), *sorted({one.test for one in chosen}))
        if status:
            console.print(said, "the tests fail as it is; mend them first", markup=False)
            return 1
    fates = []
    for one in chosen:
        started = time.monotonic()
        fates.append(fate(one))
        table.add_row(one.name, one.test.rpartition("/")[2], fates[-1], f"{time.monotonic() - started:.0f}")
        console.print(f"{fates[-1]}: {one.name}")
    console.print(table)
    return int(any(one != "caught" for one in fates))


if __name__ == "__main__":
    sys.exit(main())
