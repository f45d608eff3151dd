"""The command `redispool web`: the pools on a web page."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from redispool.cli.exits import reason_of
from redispool.cli.options import NAMESPACE, NamespaceOption, OptionalPool, Settings, UrlOption, plain
from redispool.cli.site import Site
from redispool.errors import ConfigError

if TYPE_CHECKING:
    from redispool.pool import AccountPool

_PATIENCE = 0.5  # seconds that an outage may delay a look
_PORT = 8379


@dataclass(frozen=True, slots=True)
class _OnePool:
    """A place with one pool only, for a user of the server who may see no other."""

    site: Site
    name: str

    @property
    def client(self) -> Any:
        return self.site.client

    @property
    def namespace(self) -> str:
        return self.site.namespace

    def names(self) -> list[str]:
        return [self.name]

    def new_pool(self, name: str) -> AccountPool:
        return self.site.new_pool(name)


def web(
    ctx: typer.Context,
    pool: OptionalPool = None,
    host: Annotated[str, typer.Option(help="Where to listen: this host alone, if not told otherwise.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="On which port; 0 for any that is free.")] = _PORT,
    admin: Annotated[
        bool, typer.Option("--admin", help="Let who has the token release, quarantine and restore.")
    ] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, max=60.0, help="Seconds between two looks.")] = 0.5,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
) -> None:
    """Show the pools on a web page: what top shows, live, with the last hour of use, of waiting, and who had what.

    It needs 'redispool[web]'. The page shows names, owners and times, and no credentials. With --admin a token is shown
    on the terminal, once: open the address that holds it, or type it into the page. From another host, use
    'ssh -L 8379:127.0.0.1:8379'.
    """
    settings = ctx.ensure_object(Settings)
    try:
        from redispool.web.server import Listener, serve  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"starlette", "uvicorn", "anyio"}:
            raise
        raise ConfigError(f"the web page needs {error.name}: pip install 'redispool[web]'") from None
    console = settings.console()
    if admin and not console.is_terminal:
        raise ConfigError("--admin shows its token on a terminal, and there is none; a log would keep it")
    site = Site.at(url, namespace, patience=_PATIENCE)
    place = site if pool is None else _OnePool(site, site.pool(pool).name)
    site.client.ping()
    listener = Listener(host, port)
    if not listener.is_loopback:
        _warn(settings, host, admin)
    token = secrets.token_urlsafe(32) if admin else None

    def announce() -> None:
        shown = f"{listener.url}#token={token}" if token else listener.url
        console.print(Text(f"redispool web: {plain(shown)}  (Ctrl-C ends it)"), soft_wrap=True)

    serve(place, listener, token=token, every=every, explain=reason_of, announce=announce)


def _warn(settings: Settings, host: str, admin: bool) -> None:
    """Say what it means to listen beyond this host; with --admin it is refused."""
    if admin:
        raise ConfigError(
            "--admin listens on this host only: elsewhere the token would cross the network in the clear, and who "
            "listens could use it. Leave --host out, and use 'ssh -L 8379:127.0.0.1:8379' from the other host"
        )
    settings.complain(
        f"warning: whoever reaches this host at {host} can read the names of accounts, their holders and times, "
        "unencrypted and without a login; 'ssh -L' and the default --host are safer"
    )
