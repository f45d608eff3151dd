"""The commands that rule a pool: quarantine, restore, reserve, release, configure."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import Annotated, Any

import typer
from rich.text import Text

from redispool.cli.options import (
    NAMESPACE,
    JsonOption,
    NamespaceOption,
    OptionalPool,
    PoolArgument,
    UrlOption,
    YesOption,
)
from redispool.cli.site import Report, Site
from redispool.cli.tables import table
from redispool.errors import ConfigError
from redispool.terms import Policy

NameArgument = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's name.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Whoever holds it, who hears of it when next renewing.")]
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WHOLE = ("max_failures", "max_uses", "max_per_owner", "history")


def quarantine(
    ctx: typer.Context,
    pool: PoolArgument,
    account: NameArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why, for the others; no secrets.")] = "",
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Take an account out of the rotation until it is restored; who holds it keeps it.

    JSON: {"quarantined": 1}.
    """
    Site.at(url, namespace).pool(pool).quarantine(account, reason)
    Report(ctx, as_json).tell({"quarantined": 1}, lambda: Text(f"quarantined account {account!r} of pool {pool!r}"))


def restore(
    ctx: typer.Context,
    pool: PoolArgument,
    account: NameArgument,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Bring an account back into the rotation; its failures are forgotten.

    JSON: {"restored": 1}.
    """
    Site.at(url, namespace).pool(pool).restore(account)
    Report(ctx, as_json).tell({"restored": 1}, lambda: Text(f"restored account {account!r} of pool {pool!r}"))


def reserve(
    ctx: typer.Context,
    pool: PoolArgument,
    account: NameArgument,
    owner: Annotated[str, typer.Option(help="Who has it, by name.")],
    span: Annotated[str | None, typer.Option("--for", metavar="TIME", help="How long: 90s, 30m, 2h, 1d.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="Or until when: 2026-12-31T18:00, local time.")
    ] = None,
    note: Annotated[str, typer.Option(help="What for; status shows it.")] = "",
    force: ForceOption = False,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Take an account out for a person, until a time; then it comes back by itself.

    JSON: {"reserved_until": ...}.
    """
    ends = _end(span, until)
    home, report = Site.at(url, namespace).pool(pool), Report(ctx, as_json)
    home.reserve(account, owner, ends, note, force=force)
    shown = dt.datetime.fromtimestamp(ends, dt.UTC).astimezone().isoformat(" ", "seconds")
    report.tell({"reserved_until": ends}, lambda: Text(f"reserved account {account!r} for {owner!r} until {shown}"))


def _end(span: str | None, until: str | None) -> float:
    """When it ends, in seconds since 1970."""
    if (span is None) == (until is None):
        raise ConfigError("say how long with --for, or until when with --until")
    if span is not None:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", span)
        if match is None:
            raise ConfigError(f"--for must look like 90s, 30m, 2h or 1d, not {span!r}")
        return time.time() + float(match[1]) * _UNITS[match[2]]
    try:
        return dt.datetime.fromisoformat(str(until)).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"--until must look like 2026-12-31T18:00, not {until!r}") from None


def release(
    ctx: typer.Context,
    pool: OptionalPool = None,
    owner: Annotated[str | None, typer.Option(help="Release what this owner holds.")] = None,
    account: Annotated[str | None, typer.Option(help="Release this account of the pool.")] = None,
    force: ForceOption = False,
    yes: YesOption = False,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Release what an owner holds, of an account or of all, in a pool or in all; or an account by force.

    JSON: {"released": 3}.
    """
    site, report = Site.at(url, namespace), Report(ctx, as_json)
    if account is None and owner is None:
        raise ConfigError("say whose accounts with --owner, or which one with --account")
    if account is not None and (pool is None or (owner is None) == (not force)):
        raise ConfigError("--account needs the POOL, and either --owner, or --force for whoever holds it")
    if account is None and force:
        raise ConfigError("--force is for --account; what an owner holds is released without")
    if force:
        report.confirm(f"Release account {account!r} of pool {pool!r}, whoever holds it?", yes=yes)
    if account is not None:
        count = site.pool(str(pool)).release(account, owner, force=force)
    else:
        count = sum(one.release_accounts(owner) for one in site.pools(pool))
    report.tell({"released": count}, lambda: Text(f"released {count} lease{'s' * (count != 1)}"))


def configure(
    ctx: typer.Context,
    pool: PoolArgument,
    rules: Annotated[
        list[str] | None, typer.Argument(metavar="[RULE=VALUE]...", help="Such as cooldown=30; =none: no such rule.")
    ] = None,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Show the rules of a pool, or change some, for every host and at once.

    The rules are cooldown and min_interval (seconds), max_rate (hand-outs a second), max_failures, max_uses,
    max_per_owner, cleanup (true or false), history (events kept), history_age (seconds they are kept).

    JSON: an object of those that hold.
    """
    home, report = Site.at(url, namespace).pool(pool), Report(ctx, as_json)
    policy: Any = dict(map(_rule, rules or ()))
    holds = home.configure(**policy) if policy else home.status().policy or {}
    rows = [(name, str(value)) for name, value in holds.items()]
    report.tell(holds, lambda: table(["Rule", "Value"], rows) if rows else Text(f"pool {pool!r} has no rules"))


def _rule(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    name = name.replace("-", "_")
    if not equals or name not in Policy.__annotations__:
        raise ConfigError(
            f"a rule looks like cooldown=30, and is one of {', '.join(Policy.__annotations__)}; not {word!r}"
        )
    if value == "none":
        return name, None
    if name == "cleanup":
        if value not in ("true", "false"):
            raise ConfigError("cleanup must be true, false or none")
        return name, value == "true"
    try:
        return name, int(value) if name in _WHOLE else float(value)
    except ValueError:
        raise ConfigError(f"{name} must be a number or none, not {value!r}") from None
