"""The Lua scripts, each composed of its own file and of the shared ones that it includes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from importlib import resources

PROTOCOL_VERSION = "1"

_INCLUDE = re.compile(r"^--@include (\w+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script as the server gets it."""

    name: str
    text: str = field(repr=False)
    sha: str


def _compose(name: str) -> str:
    """The file's text with each included file in its place, once."""
    folder = resources.files(__package__) / "lua"
    included: set[str] = set()

    def expand(text: str) -> str:
        return _INCLUDE.sub(lambda match: include(match[1]), text)

    def include(part: str) -> str:
        if part in included:
            return ""
        included.add(part)
        return expand((folder / "shared" / f"{part}.lua").read_text("utf-8"))

    return expand((folder / f"{name}.lua").read_text("utf-8"))


def _load(name: str) -> Script:
    text = _compose(name)
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - the name EVALSHA uses


ACQUIRE = _load("acquire")
ADD = _load("add")
ATTEND = _load("attend")
AUDIT = _load("audit")
CANCEL = _load("cancel")
CHOOSE = _load("choose")
CONFIGURE = _load("configure")
ENLIST = _load("enlist")
HEALTH = _load("health")
INSPECT = _load("inspect")
LOG = _load("log")
LOOKUP = _load("lookup")
NAMES = _load("names")
NOTE = _load("note")
OWNED = _load("owned")
RELEASE = _load("release")
REMOVE = _load("remove")
RENEW = _load("renew")
REPLACE = _load("replace")
RESEAL = _load("reseal")
RESERVE = _load("reserve")
RESET = _load("reset")
REVOKE = _load("revoke")
ROUTE = _load("route")
WAITING = _load("waiting")

# by name: what changes a pool's members or rules, and is told to the audit trail with who did it
ADMINISTRATIVE = frozenset(
    script.name for script in (ADD, CONFIGURE, HEALTH, NOTE, REMOVE, REPLACE, RESEAL, RESERVE, RESET, REVOKE)
)
