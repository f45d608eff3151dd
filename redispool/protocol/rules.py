r"""Host rules as data: a glob, a regular expression, or a network.

A regular expression that somebody put into Redis must not be able to hang a worker. So it never reaches Python's
backtracking engine: RE2 (`pip install 'redispool[regex]'`) runs it, whose time is linear in the length of the host's
name and whose memory is bounded here; what RE2 cannot bound (backreferences, lookaround) it refuses, and so does
`rules_of`, when the rule is added. `\d`, `\w`, `\s` and `\b` mean ASCII.
"""

from __future__ import annotations

import fnmatch
import importlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from redispool.arguments import check_name
from redispool.errors import ConfigError

if TYPE_CHECKING:
    from redispool.hosts import HostIdentity

MAX_PATTERN = 1000  # bytes
MAX_RULES = 100  # in one sequence
_REGEX_MEMORY = 1 << 20  # bytes that RE2 may use for one expression
_BRACKETS = re.compile(r"\[!?\]?[^\]]*\]")
_POSIX_CLASS = re.compile(r"\[:\^?\w+:\]")


@dataclass(frozen=True, slots=True)
class Glob:
    """Matches the whole name of a host, in upper or lower case: `*`, `?`, `[abc]`, `[!abc]`."""

    pattern: str

    def __post_init__(self) -> None:
        check_name("a glob", self.pattern, MAX_PATTERN)
        if "[" in _BRACKETS.sub("", self.pattern):
            raise ConfigError(f"glob {self.pattern!r} has a '[' without its ']'; write '[[]' for the character itself")
        if "/" in self.pattern and _is_network(self.pattern):
            raise ConfigError(
                f"{self.pattern!r} is a network, and as a glob would match no host; "
                f"pass ipaddress.ip_network({self.pattern!r})"
            )

    def matches(self, host: HostIdentity) -> bool:
        """Whether the rule holds for the host."""
        return fnmatch.fnmatchcase(host.name.lower(), self.pattern.lower())


@dataclass(frozen=True, slots=True)
class Regex:
    """Matches where the expression is found anywhere in the host's name, as `re.search` does; `^` and `$` anchor it."""

    pattern: str
    ignore_case: bool = False

    def __post_init__(self) -> None:
        check_name("a regular expression", self.pattern, MAX_PATTERN)
        if re.search(r"\{,\d+\}", self.pattern) or _POSIX_CLASS.search(self.pattern):
            raise ConfigError(
                f"regular expression {self.pattern!r} means different things to Python and to RE2; "
                "write {0,n} for {,n}, and spell out classes like [:alpha:]"
            )

    def matches(self, host: HostIdentity) -> bool:
        """Whether the rule holds for the host, in time linear in the length of its name."""
        return _linear(self.pattern, self.ignore_case).search(host.name) is not None


@dataclass(frozen=True, slots=True)
class Network:
    """Matches where the host's address is in the network; a name is never looked up."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network

    def matches(self, host: HostIdentity) -> bool:
        """Whether the rule holds for the host."""
        return host.address is not None and host.address in self.network


Rule: TypeAlias = Glob | Regex | Network


def rules_of(match: Any) -> tuple[Rule, ...]:
    """What a caller passed as `match`, as rules of which any may hold.

    Args:
        match: a glob, a compiled regular expression, a network of `ipaddress`, a rule, or a sequence of these.

    Raises:
        ConfigError: it is none of these, or cannot be bounded; the message says why.
    """
    if isinstance(match, Iterable) and not isinstance(match, str | ipaddress.IPv4Network | ipaddress.IPv6Network):
        rules = tuple(_rule_of(one) for one in match)
        if not 1 <= len(rules) <= MAX_RULES:
            raise ConfigError(f"a sequence of 1 to {MAX_RULES} rules is needed, not of {len(rules)}")
        return rules
    return (_rule_of(match),)


def _rule_of(match: Any) -> Rule:
    match match:
        case Glob() | Network():
            return match
        case Regex():
            _linear(match.pattern, match.ignore_case)
            return match
        case str():
            return Glob(match)
        case ipaddress.IPv4Network() | ipaddress.IPv6Network():
            return Network(match)
        case re.Pattern():
            return _regex_of(match)
    raise ConfigError(
        "a match is a callable, a glob, a compiled regular expression, an ipaddress network, or a sequence of the "
        f"last three, not {type(match).__name__}"
    )


def _regex_of(compiled: re.Pattern[Any]) -> Regex:
    pattern, flags = compiled.pattern, compiled.flags & ~(re.IGNORECASE | re.UNICODE)
    if not isinstance(pattern, str):
        raise ConfigError(f"regular expression {pattern!r} is made of bytes, and the names of hosts are strings")
    if flags:
        raise ConfigError(f"regular expression {pattern!r} has {re.RegexFlag(flags)!r}; only IGNORECASE is supported")
    rule = Regex(pattern, bool(compiled.flags & re.IGNORECASE))
    _linear(rule.pattern, rule.ignore_case)
    return rule


@lru_cache(maxsize=4096)
def _linear(pattern: str, ignore_case: bool) -> Any:
    """The expression, compiled by RE2."""
    try:
        re2: Any = importlib.import_module("re2")
    except ImportError:
        re2 = None
    if not hasattr(re2, "Options"):  # another package of that name falls back to the engine that must not run it
        raise ConfigError(
            f"regular expression {pattern!r} as a routing rule needs RE2, which bounds its time: "
            "pip install 'redispool[regex]'"
        )
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _REGEX_MEMORY
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise ConfigError(
            f"regular expression {pattern!r} cannot be a routing rule: {reason} (RE2 runs it, which has no "
            "backreferences and no lookaround; a callable match may do what it likes)"
        ) from None


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
