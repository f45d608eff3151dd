"""On what terms a pool hands out its accounts, and what else a caller may ask for: each checked before it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from redispool.account import Account
from redispool.arguments import (
    check_account_name,
    check_flag,
    check_labels,
    check_seconds,
    check_ttl,
    check_whole,
)
from redispool.errors import ConfigError
from redispool.protocol.requests import choice_of, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 1_000_000_000
_MOST_EXCLUDED = 64
_IN_SECONDS = ("cooldown", "min_interval", "history_age")  # of the rules; the scripts know them in milliseconds
_LOWEST_RATE, _HIGHEST_RATE = 0.00001, 1_000_000.0  # hand-outs a second


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms this process takes accounts; times in seconds."""

    ttl: float
    auto_renew: bool
    max_lease: float | None


def check_terms(ttl: Any, auto_renew: Any, max_lease: Any) -> Terms:
    """The terms, checked."""
    limit = None if max_lease is None else check_ttl(max_lease)
    return Terms(check_ttl(ttl), bool(auto_renew), limit)


class Policy(TypedDict, total=False):
    """Rules of a pool, kept in Redis; they hold for every host. What is not given stays as it is; None: no rule.

    Attributes:
        cooldown: seconds that an account rests after each use.
        min_interval: seconds from one hand-out of an account to its next.
        max_rate: hand-outs a second, of the whole pool.
        max_failures: after so many `mark_bad` without a `mark_good` an account is quarantined.
        max_uses: after so many hand-outs an account is quarantined, for its password to be changed.
        max_per_owner: how many accounts one owner may hold at a time; who wants more waits until he gives one back.
        cleanup: whether a released account goes to `acquire_for_cleanup` before it goes to others.
        history: how many events are kept for `history`, at the least (10,000 by default; 0: none).
        history_age: seconds after which an event is dropped, at the next one.
    """

    cooldown: float | None
    min_interval: float | None
    max_rate: float | None
    max_failures: int | None
    max_uses: int | None
    max_per_owner: int | None
    cleanup: bool | None
    history: int | None
    history_age: float | None


def _pace(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _LOWEST_RATE <= value <= _HIGHEST_RATE:
        raise ConfigError(
            f"{name} must be a number of hand-outs a second, from {_LOWEST_RATE:g} to {_HIGHEST_RATE:g}, not {value!r}"
        )
    return round(1_000_000 / value)


_RULES: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "cooldown": ("cooldown", lambda name, value: milliseconds(check_seconds(name, value))),
    "min_interval": ("min_interval", lambda name, value: milliseconds(check_seconds(name, value))),
    "max_rate": ("pace", _pace),
    "max_failures": ("max_failures", lambda name, value: check_whole(name, value, 1, _MOST)),
    "max_uses": ("max_uses", lambda name, value: check_whole(name, value, 1, _MOST)),
    "max_per_owner": ("max_per_owner", lambda name, value: check_whole(name, value, 1, _MOST)),
    "cleanup": ("cleanup", check_flag),
    "history": ("events", lambda name, value: check_whole(name, value, 0, _MOST)),
    "history_age": ("events_age", lambda name, value: milliseconds(check_seconds(name, value))),
}


def check_policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The policy as the scripts know it: milliseconds, microseconds of pace, False for no rule."""
    checked: dict[str, Any] = {}
    for name, value in policy.items():
        if name not in _RULES:
            raise TypeError(f"unexpected keyword argument {name!r}; the rules of a pool are {', '.join(_RULES)}")
        key, check = _RULES[name]
        rule = None if value is None else check(name, value)
        checked[key] = False if rule is None or (rule == 0 and name in _IN_SECONDS) else rule  # no time, no rule
    return checked


def policy_from(settings: Mapping[str, Any]) -> Policy:
    """The policy that the scripts' settings are."""
    found: Any = {}
    for name, (key, _) in _RULES.items():
        value = settings.get(key)
        if value is not None:
            found[name] = (
                float(f"{1_000_000 / value:.5g}") if key == "pace" else value / 1000 if name in _IN_SECONDS else value
            )
    policy: Policy = found
    return policy


class Choice(TypedDict, total=False):
    """What else a caller may ask of an account.

    Attributes:
        labels: names and values that it must carry; who asks for the same labels is served in turn. The first time that
            a pool is asked for certain labels it looks through all its accounts, then never again.
        exclude: accounts that it must not be, up to 64.
        prefer: the account that it shall be if that is free, or True for the one that this owner had last when it asked
            so, within a day.
        wait_for_restore: whether to wait where all accounts are quarantined, instead of raising PoolExhausted.
    """

    labels: Mapping[str, str] | None
    exclude: Iterable[Account | str]
    prefer: Account | str | bool | None
    wait_for_restore: bool


def check_error_classes(classes: Any) -> tuple[type[BaseException], ...]:
    """What `bad_on` names: a class of errors, or a tuple of them."""
    found = classes if isinstance(classes, tuple) else (classes,)
    for one in found:
        if not isinstance(one, type) or not issubclass(one, BaseException):
            raise ConfigError(f"bad_on must be a tuple of classes of errors, and {one!r} is none")
    return found


def name_of(account: Any) -> str:
    """The name of an account that was given itself, or by its name."""
    if isinstance(account, Account):
        return account.name or check_account_name("")  # no name would ask for any account
    return check_account_name(account)


def check_choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The choice as the fields of a request."""
    if not choice:
        return {}
    unknown = choice.keys() - Choice.__annotations__.keys()
    if unknown:
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    fields: dict[str, Any] = {}
    if choice.get("labels") is not None:
        fields["choice"] = choice_of(check_labels(choice["labels"]))
    excluded = choice.get("exclude", ())
    if isinstance(excluded, str | Account) or not isinstance(excluded, Iterable):
        raise ConfigError("exclude must be a list of accounts or of their names")
    names = tuple(dict.fromkeys(name_of(account) for account in excluded))
    if len(names) > _MOST_EXCLUDED:
        raise ConfigError(f"exclude takes {_MOST_EXCLUDED} accounts at most, not {len(names)}; use labels instead")
    if names:
        fields["exclude"] = names
    preferred = choice.get("prefer")
    if preferred is not None and preferred is not False:
        fields["prefer"] = True if preferred is True else name_of(preferred)
    if check_flag("wait_for_restore", choice.get("wait_for_restore", False)):
        fields["patient"] = True
    return fields
