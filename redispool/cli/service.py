"""The commands that serve a pool's keepers: acl, reseal, bench."""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from redispool import Account
from redispool.acl import acl_line
from redispool.cli.options import NAMESPACE, JsonOption, NamespaceOption, PoolArgument, UrlOption
from redispool.cli.passwords import read_password
from redispool.cli.site import Report, Site
from redispool.cli.tables import table
from redispool.errors import ConfigError
from redispool.private_pool import private_name

if TYPE_CHECKING:
    from redispool.pool import AccountPool

_PERCENTILES = (50, 95, 99)


def acl(
    ctx: typer.Context,
    pool: Annotated[str | None, typer.Argument(metavar="[POOL]", help="The pool's name; or --pool.")] = None,
    role: Annotated[str, typer.Option(help="worker, admin or reader.")] = "worker",
    pool_option: Annotated[str | None, typer.Option("--pool", "-p", metavar="POOL", help="The pool's name.")] = None,
    user: Annotated[str | None, typer.Option(help="The user's name; POOL-ROLE if not given.")] = None,
    password_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where the user's password stands; only its hash is shown.")
    ] = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="The server is a cluster.")] = False,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Write the line for redis-cli that makes a user of the server who may do what a role does, and no more.

    Nothing is sent to the server. JSON: {"line": "ACL SETUSER ..."}.
    """
    if pool is None or pool_option is not None:
        pool, other = pool_option, pool
        if pool is None or other is not None:
            raise ConfigError("acl needs the name of one pool: redispool acl --role worker --pool lab")
    password = None if password_file is None else read_password("", password_file)
    line = acl_line(role, pool, namespace, user=user, password=password, cluster=cluster)
    report = Report(ctx, as_json)
    if as_json:
        report.write({"line": line}, indent=2)
    else:
        report.console.print(Text(line), soft_wrap=True)


def reseal(
    ctx: typer.Context,
    pool: PoolArgument,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Seal every account anew with the first key of REDISPOOL_KEY, while the pool is in use.

    JSON: {"resealed": 5}.
    """
    report = Report(ctx, as_json)
    with report.progress("sealing") as progress:
        count = Site.at(url, namespace).pool(pool).reseal(progress=progress)
    report.tell({"resealed": count}, lambda: Text(f"sealed {count} accounts of pool {pool!r} anew"))


def bench(
    ctx: typer.Context,
    seconds: Annotated[float, typer.Option(min=0.1, max=60.0, help="How long each of the two measures takes.")] = 2.0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Threads that compete for the accounts.")] = 4,
    accounts: Annotated[int, typer.Option(min=1, max=1000, help="Accounts that they share.")] = 2,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Measure how long it takes to lease an account and give it back: alone, and with others.

    On the server in use, in a pool of its own that is gone afterwards; it measures this host and the network as well.

    JSON: an object with alone and together, each with turns, turns_a_second, and percentiles in milliseconds (p50, p95,
    p99) of the time to get an account.
    """
    site, report = Site.at(url, namespace), Report(ctx, as_json)
    pool = site.new_pool(private_name())
    try:
        pool.add_account([Account(f"bench-{number}") for number in range(accounts)])
        alone = _measure(pool, seconds, 1)
        together = _measure(pool, seconds, workers)
    finally:
        pool.run(pool.operations.leave_no_trace())

    def picture() -> Any:
        rows = [
            (name, one["turns"], f"{one['turns_a_second']:.0f}", *(f"{one[f'p{p}']:.2f} ms" for p in _PERCENTILES))
            for name, one in (("one alone", alone), (f"{workers} threads, {accounts} accounts", together))
        ]
        return table(["", "#Turns", "#A second", *(f"#p{p}" for p in _PERCENTILES)], rows)

    report.tell({"alone": alone, "together": together}, picture)


def _measure(pool: AccountPool, seconds: float, workers: int) -> dict[str, Any]:
    end = time.monotonic() + seconds
    waits: list[float] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            while (started := time.monotonic()) < end:
                with pool.lease(timeout=seconds + 60.0):
                    waits.append(time.monotonic() - started)
        except Exception as error:  # noqa: BLE001 - raised by who waits for the threads
            failures.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    cuts = statistics.quantiles(waits * 2, n=100, method="inclusive")  # twice, for it needs two at the least
    percentiles = {f"p{p}": cuts[p - 1] * 1000 for p in _PERCENTILES}
    return {"turns": len(waits), "turns_a_second": len(waits) / seconds, **percentiles}
