"""The command `redispool demo`."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import redis
import typer

from redispool.arguments import check_seconds
from redispool.cli.demo.play import play
from redispool.cli.demo.scene import Plan
from redispool.cli.demo.view import heading, summary, view_for
from redispool.cli.exits import ExitStatus
from redispool.cli.options import Settings, UrlOption, shown_url
from redispool.connect import connect, private_client

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _server(url: str | None) -> Iterator[tuple[str, str]]:
    """The URL of the server to use, and how to speak of it; an embedded one of our own where none is given."""
    if url is not None:
        yield url, shown_url(url)
        return
    with tempfile.TemporaryDirectory(prefix="redispool-demo-", ignore_cleanup_errors=True) as directory:
        own = f"embedded://{directory}"
        client = private_client(connect(own))
        client.ping()
        try:
            yield own, "an embedded server, just for this"
        finally:
            with suppress(redis.RedisError):
                client.shutdown(nosave=True)  # it would end with this process anyway, but may write until then
            client.close()


def demo(
    ctx: typer.Context,
    url: UrlOption = None,
    workers: Annotated[int, typer.Option(min=2, max=32, help="How many worker processes there are.")] = 8,
    accounts: Annotated[int, typer.Option(min=1, max=9, help="How many accounts they share.")] = 3,
    seconds: Annotated[float, typer.Option(help="How long they work, 1 or more.")] = 10.0,
    ttl: Annotated[float, typer.Option(help="Seconds until a dead worker's account is back, 0.5 or more.")] = 3.0,
) -> None:
    """Watch workers share accounts, and what happens when one of them is killed.

    Worker processes lease accounts from a shared pool and log in with them to a service that refuses an account
    which is in use already. One worker is killed (SIGKILL) while it is logged in, and its account comes back by itself.
    Without --url it runs on a server of its own; on yours, it leaves nothing behind. The exit status is 1 if a login
    was refused, or if an account did not come back.
    """
    console = ctx.ensure_object(Settings).console()
    check_seconds("--seconds", seconds, least=1.0)
    check_seconds("--ttl", ttl, least=0.5)
    with _server(url) as (server, shown):
        plan = Plan(server, shown, workers, accounts, seconds, ttl)
        with view_for(console) as view:
            outcome = play(plan, view.show)
    if console.is_terminal:
        console.print(heading(plan), "")  # the picture is gone
    console.print(summary(outcome))
    if outcome.problems():
        raise typer.Exit(ExitStatus.FAILED)
