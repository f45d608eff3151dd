"""The command `redispool doctor`: is all well, and if not, what is to be done?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from redispool.cli.exits import ExitStatus
from redispool.cli.findings import Finding, findings_of
from redispool.cli.options import NAMESPACE, JsonOption, NamespaceOption, OptionalPool, UrlOption, YesOption, plain
from redispool.cli.pool_checks import PoolChecks
from redispool.cli.server_checks import ServerChecks
from redispool.cli.site import Report, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_INDENT = (0, 0, 0, 6)


def doctor(
    ctx: typer.Context,
    pool: OptionalPool = None,
    deep: Annotated[bool, typer.Option("--deep", help="Check the pools' keys against each other, too.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove the private pools of ended processes.")] = False,
    yes: YesOption = False,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Check the server and the pools, and say what to do where something is wrong.

    The exit status is 1 if a check failed, 69 if the server cannot be reached; warnings are no failures.

    JSON: a list of objects with check, level (ok, warn or fail), found, advice.
    """
    report = Report(ctx, as_json)
    if prune:
        report.confirm("Remove the private pools whose processes on this host are gone?", yes=yes)
    site = Site.at(url, namespace)
    site.client.ping()
    found: list[Finding] = []
    for finding in _examine(site, pool, deep=deep, prune=prune):
        found.append(finding)
        if not as_json:
            report.console.print(_line(finding))
    failed = sum(one.level == "fail" for one in found)
    warned = sum(one.level == "warn" for one in found)
    summary = f"{len(found)} checks, {warned} warnings, {failed} failures"
    report.tell(found, lambda: Text(summary, "bold red" if failed else "yellow" if warned else "bold green"))
    if failed:
        raise typer.Exit(ExitStatus.FAILED)


def _examine(site: Site, pool: str | None, *, deep: bool, prune: bool) -> Iterator[Finding]:
    yield Finding("connection", "ok", "the server answers")
    for checks in (ServerChecks(site), PoolChecks(site, pool, deep=deep, prune=prune)):
        for check, look in checks.all():
            for finding in findings_of(check, look):
                yield finding
                if finding.check == "replicas" and finding.level == "fail":
                    return  # a replica would only have us wait until it becomes a primary


def _line(finding: Finding) -> RenderableType:
    line = Text.assemble((f"{finding.level:4}  ", _STYLES[finding.level]), (f"{plain(finding.check)}: ", "bold"))
    line.append(plain(finding.found))
    advice = Text(plain(finding.advice), "dim")
    return Group(line, Padding(advice, _INDENT, expand=False)) if finding.advice else line
