"""The commands that show: pools, status, waiting, show."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from redispool.cli.events import event_table
from redispool.cli.options import NAMESPACE, JsonOption, NamespaceOption, OptionalPool, PoolArgument, UrlOption
from redispool.cli.site import Report, Site
from redispool.cli.tables import clock, duration, figures, table
from redispool.errors import ConfigError, ProtocolMismatch, UnknownAccount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from redispool import Account
    from redispool.pool import AccountPool
    from redispool.status import PoolStatus

_FIGURES = ("accounts", "free", "held", "cooling", "quarantined", "waiting")


def pools(
    ctx: typer.Context,
    private: Annotated[bool, typer.Option("--private", help="Also those that belong to one process.")] = False,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """List the pools, with their figures.

    JSON: a list of objects with name, accounts, free, held, cooling, quarantined, waiting, to_clean, and error, which
    is null but for a pool that this version cannot read.
    """
    site, report = Site.at(url, namespace), Report(ctx, as_json)
    documents = [_figures_of(pool) for pool in site.pools(None, private=private)]

    def picture() -> RenderableType:
        if not documents:
            return Text(f"There are no pools in namespace {site.namespace!r}.")
        rows = [[one["name"], *(one[figure] for figure in _FIGURES), one["error"] or ""] for one in documents]
        return table(["Pool", *(f"#{figure.capitalize()}" for figure in _FIGURES), "+"], rows)

    report.tell(documents, picture)


def _figures_of(pool: AccountPool) -> dict[str, Any]:
    names = (*_FIGURES, "to_clean")
    try:
        status = pool.status()
    except ProtocolMismatch as error:
        return {"name": pool.name, **dict.fromkeys(names, 0), "error": str(error)}
    return {"name": pool.name, **{name: getattr(status, name) for name in names}, "error": None}


def status(
    ctx: typer.Context,
    pool: OptionalPool = None,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Show who holds what, and what is out of the rotation; of a pool, or of all.

    JSON: a list with an object for each pool: name, accounts, free, held, cooling, quarantined, waiting, to_clean, at;
    leases (account, owner, token, fence, acquired_at, expires_at, age, purpose, note), quarantine (account, since, by,
    reason), policy. Times are in seconds, moments in seconds since 1970 by the server's clock.
    """
    site, report = Site.at(url, namespace), Report(ctx, as_json)
    found = [one.status() for one in site.pools(pool)]

    def picture() -> RenderableType:
        if not found:
            return Text(f"There are no pools in namespace {site.namespace!r}.")
        parts = [part for one in found for part in (Text(), _picture_of(one))]
        return Group(*parts[1:])

    report.tell(found, picture)


def _picture_of(one: PoolStatus) -> RenderableType:
    kinds = [(name, getattr(one, name)) for name in _FIGURES] + [("to be cleaned", one.to_clean)]
    parts: list[RenderableType] = [Text.assemble((f"{one.name}: ", "bold"), figures(kinds))]
    if one.leases:
        rows = [
            (
                lease.account,
                lease.owner,
                lease.fence,
                duration(lease.age),
                duration(lease.expires_at - one.at),
                f"{lease.purpose} {lease.note}".strip(),
            )
            for lease in one.leases
        ]
        parts.append(table(["Account", "Held by", "#Fence", "#For", "#Ends in", "+"], rows))
    if one.quarantine:
        rows_out = [(out.account, duration(one.at - out.since), out.by, out.reason) for out in one.quarantine]
        parts.append(table(["Quarantined", "#For", "By", "+Reason"], rows_out))
    if one.policy:
        parts.append(Text("Policy: " + ", ".join(f"{name} {value}" for name, value in one.policy.items())))
    return Group(*parts)


def waiting(
    ctx: typer.Context,
    pool: OptionalPool = None,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Show who waits, in the order of service; in a pool, or in all.

    JSON: a list of objects with pool, place, owner, token, since, wants, count, estimated_wait (seconds, or null).
    """
    site, report = Site.at(url, namespace), Report(ctx, as_json)
    documents = [
        {"pool": one.name, "place": place, **asdict(waiter)}
        for one in site.pools(pool)
        for place, waiter in enumerate(one.waiting(), 1)
    ]

    def picture() -> RenderableType:
        if not documents:
            return Text("Nobody waits.")
        rows = [
            (one["place"], one["pool"], one["owner"], _wish(one), clock(one["since"]), _wait(one)) for one in documents
        ]
        return table(["#", "Pool", "+Who", "Wants", "Since", "#About"], rows)

    report.tell(documents, picture)


def _wish(one: dict[str, Any]) -> str:
    what: str = one["wants"] or "any"
    return what if one["count"] == 1 else f"{one['count']} of {what}"


def _wait(one: dict[str, Any]) -> str:
    return "?" if one["estimated_wait"] is None else duration(one["estimated_wait"])


def show(
    ctx: typer.Context,
    pool: PoolArgument,
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its name.")],
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="The passwords as well; only on a terminal.")
    ] = False,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Show one account, and what happened to it of late.

    JSON: an object with name, max_sessions (0: never locked), labels, key (its type, or null), history (see events).
    """
    report = Report(ctx, as_json)
    if show_secrets and (as_json or not report.console.is_terminal):
        raise ConfigError("--show-secrets is for a terminal only; a program gets an account with 'redispool run'")
    home = Site.at(url, namespace).pool(pool)
    found = home.get_account_from_name(account)
    if found is None:
        raise UnknownAccount(f"account {account!r} is not in pool {pool!r}")
    history = home.history(account, limit=10)
    document = {
        "name": found.name,
        "max_sessions": found.max_sessions if found.needs_lock else 0,
        "labels": found.labels,
        "key": None if found.key is None else found.key.get_type(),
        "history": history,
    }

    def picture() -> RenderableType:
        rows = [(name, str(value)) for name, value in _facts(found, show_secrets)]
        return Group(
            table(["Account", found.name], rows), Text(), event_table((pool, row) for row in reversed(history))
        )

    report.tell(document, picture)


def _facts(account: Account, show_secrets: bool) -> Iterator[tuple[str, str]]:
    yield "sessions", str(account.max_sessions) if account.needs_lock else "any number: it is never locked"
    yield "labels", ", ".join(f"{name}={value}" for name, value in account.labels.items()) or "none"
    yield "key", "none" if account.key is None else account.key.get_type()
    if show_secrets:
        yield "password", account.get_password()
        yield "authorization password", account.get_authorization_password()
