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
# what each understands, to begin with: atheris sees the branches of Python, and not those of json, re or int
SEEDS = {
    "grant": b"granted\nhost:1:ab\na1\n7\n1700000000000\n1700000060000\n1\n{}",
    "lease": b"a1\nbob\n7\n1700000000000\nreserved: why",
    "quarantine": b"bob\n1700000000000\nlocked out",
    "waiter": b'box\nbob\n60000\n1700000000000\na1\n{"count":2,"exclude":["a2"],"prefer":true}',
    "event": b"a1\nbob\n7\nhost:1:ab\n250\nwhy",
    "policy": b'{"cooldown":5000,"cleanup":true}',
    "route": b'{"match":[{"glob":"lab-*"},{"network":"10.0.0.0/8"},{"regex":"^a","ignore_case":true}],"pool":"lab"}',
    "message": b'{"id":1,"do":"acquire","account":"a1","timeout":1.5}',
    "log": b"1700000000000-1",
    "record": b'{"password":"x","password2":"y","key":{"type":"rsa","text":"t"},"labels":{"a":"b"},"max_sessions":2}',
    "url": b"rediss+sentinel://ann:p%40w@[::1]:26379,h/service/0?sentinel_password=x&socket_timeout=1&ssl_cert_reqs=none",
    "accounts.csv": b'name,password,password2,max_sessions,labels\na1,"x,y",,2,"site=east,tier=2"\n',
    "accounts.cfg": b"[account-pool]\na1=eA==\na2 = eA==\n  eA==\n[other]\nx=y\n",
    "accounts.yaml": b"accounts:\n- name: a1\n  password: 'x'\n  labels: {site: east}\n- {name: a2, max_sessions: 2}\n",
    "keys": b"# newest\ncw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\n",
    "private key": b"-----BEGIN EC PRIVATE KEY-----\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n",
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

    corpus = Path(tempfile.mkdtemp(prefix="redispool-fuzz-"))
    (corpus / "seed").write_bytes(SEEDS[name])
    atheris.Setup([sys.argv[0], *sys.argv[2:], str(corpus)], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
