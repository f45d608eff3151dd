"""The commands `redispool routes`: which pool serves which host."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from redispool.cli.options import NAMESPACE, JsonOption, NamespaceOption, PoolArgument, UrlOption, YesOption
from redispool.cli.site import Report, Site
from redispool.cli.tables import table
from redispool.errors import ConfigError
from redispool.hosts import identify
from redispool.protocol.rules import Glob, Network, Regex

if TYPE_CHECKING:
    from redispool.protocol.routes import Route
    from redispool.protocol.rules import Rule

app = typer.Typer(help="Which pool serves which host: list, add, remove and test the rules.", no_args_is_help=True)

Patterns = Annotated[
    list[str], typer.Argument(metavar="PATTERN...", help="Globs such as 'lab-*', of which any may hold.")
]
RegexOption = Annotated[bool, typer.Option("--regex", help="They are regular expressions (RE2).")]
NetworkOption = Annotated[bool, typer.Option("--network", help="They are networks such as 10.0.0.0/8.")]


@app.command("list")
def list_(
    ctx: typer.Context, url: UrlOption = None, namespace: NamespaceOption = NAMESPACE, as_json: JsonOption = False
) -> None:
    """List the rules, in the order in which they are tried.

    JSON: a list of objects with pool and match, a list of objects with kind (glob, regex, network) and pattern.
    """
    routes = Site.at(url, namespace).manager().routes()
    report = Report(ctx, as_json)
    rows = [(place, route.pool, _shown(route)) for place, route in enumerate(routes, 1)]
    empty = "There are no rules: every host is served by the pool 'default'."
    report.tell(
        [_document(route) for route in routes], lambda: table(["#", "Pool", "+Serves"], rows) if rows else Text(empty)
    )


@app.command()
def add(
    ctx: typer.Context,
    pool: PoolArgument,
    patterns: Patterns,
    regex: RegexOption = False,
    network: NetworkOption = False,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Have a pool serve the hosts that a pattern holds for, from every host; tried after the rules that are there.

    JSON: {"added": 1}.
    """
    rules = _rules(patterns, regex=regex, network=network)
    Site.at(url, namespace).manager().add_pool(pool, rules)
    Report(ctx, as_json).tell({"added": 1}, lambda: Text(f"pool {pool!r} serves {', '.join(patterns)}"))


@app.command()
def remove(
    ctx: typer.Context,
    pool: PoolArgument,
    patterns: Annotated[
        list[str] | None, typer.Argument(metavar="[PATTERN]...", help="As it was added; or all.")
    ] = None,
    regex: RegexOption = False,
    network: NetworkOption = False,
    yes: YesOption = False,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Remove a rule of a pool, or all that it has.

    JSON: {"removed": 1}.
    """
    report = Report(ctx, as_json)
    match = _rules(patterns, regex=regex, network=network) if patterns else None
    if match is None:
        report.confirm(f"Remove all rules of pool {pool!r}?", yes=yes)
    count = Site.at(url, namespace).manager().remove_pool(pool, match)
    if not count:
        raise ConfigError(f"pool {pool!r} has no such rule; 'redispool routes list' shows those that there are")
    report.tell({"removed": count}, lambda: Text(f"removed {count} rule{'s' * (count != 1)} of pool {pool!r}"))


@app.command("test")
def try_host(
    ctx: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host's name or address.")],
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Tell which pool serves a host, and why.

    JSON: an object with host, pool, place (of the rule, from 1; null: no rule holds) and rule (kind and pattern).
    """
    identity = identify(host)
    for place, route in enumerate(Site.at(url, namespace).manager().routes(), 1):
        for rule in route.rules:
            if rule.matches(identity):
                kind, pattern = _kind(rule)
                why = f"rule {place} holds: {kind} {pattern}"
                return _tell(Report(ctx, as_json), host, route.pool, place, {"kind": kind, "pattern": pattern}, why)
    return _tell(Report(ctx, as_json), host, "default", None, None, "no rule holds for it")


def _tell(report: Report, host: str, pool: str, place: int | None, rule: Any, why: str) -> None:
    document = {"host": host, "pool": pool, "place": place, "rule": rule}
    report.tell(document, lambda: Text(f"{host!r} is served by pool {pool!r}: {why}"))


def _rules(patterns: list[str], *, regex: bool, network: bool) -> list[Any]:
    if regex and network:
        raise ConfigError("--regex and --network contradict each other; add two rules")
    try:
        if network:
            return [ipaddress.ip_network(pattern) for pattern in patterns]
        return [re.compile(pattern) for pattern in patterns] if regex else list(patterns)
    except (ValueError, re.error) as error:
        raise ConfigError(f"{error}; quote the pattern, so that the shell leaves it alone") from None


def _kind(rule: Rule) -> tuple[str, str]:
    match rule:
        case Glob():
            return "glob", rule.pattern
        case Network():
            return "network", str(rule.network)
        case Regex():
            return "regex", rule.pattern


def _shown(route: Route) -> str:
    return ", ".join(pattern if kind == "glob" else f"{kind} {pattern}" for kind, pattern in map(_kind, route.rules))


def _document(route: Route) -> dict[str, Any]:
    rules = [dict(zip(("kind", "pattern"), _kind(rule), strict=True)) for rule in route.rules]
    return {"pool": route.pool, "match": rules}
