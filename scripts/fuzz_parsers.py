"""Feeds a parser of foreign data with what atheris thinks of, until it does not end in a clear error.

pip install atheris                                       (CPython 3.11 to 3.13)
python scripts/fuzz_parsers.py                            names the parsers
python scripts/fuzz_parsers.py grant -max_total_time=300  five minutes of one; libFuzzer's options follow the name
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent))

with atheris.instrument_imports(include=["redispool"]):
    from redispool import Account, PrivateKey, RedispoolError, load_accounts
    from redispool.protocol.records import decode
    from redispool.sealing import seal_from
    from redispool.urls import parse
from tests.security.test_hostile_data import PARSERS

if TYPE_CHECKING:
    from collections.abc import Callable


def from_file(name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """A parser of files."""
    path = Path(tempfile.mkdtemp(prefix="redispool-fuzz-")) / name

    def parser(junk: bytes) -> Any:
        path.write_bytes(junk)
        return read(path)

    return parser


FOREIGN = {
    **PARSERS,
    "record": lambda junk: decode("a1", b"1\n" + junk, None, "lab", Account),
    "url": lambda junk: parse(junk.decode("utf-8", "replace")),
    "accounts.csv": from_file("accounts.csv", load_accounts),
    "accounts.cfg": from_file("accounts.cfg", load_accounts),
    "accounts.yaml": from_file("accounts.yaml", load_accounts),
    "keys": from_file("keys", lambda path: seal_from(f"file:{path}")),
    "private key": lambda junk: PrivateKey.from_string(junk.decode("latin-1"), "password"),
}


def main() -> None:
    """Fuzz the parser that the command line names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in FOREIGN:
        sys.exit(f"the parsers are: {', '.join(FOREIGN)}")
    allowed = ValueError if name == "route" else RedispoolError

    def attempt(junk: bytes) -> None:
        with suppress(allowed):
            FOREIGN[name](junk)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
