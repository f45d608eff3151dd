"""The command `redispool top`: looks, draws, and does what keys say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import redis
import typer
from rich.live import Live
from rich.text import Text

from redispool.cli.exits import reason_of
from redispool.cli.options import NAMESPACE, NamespaceOption, Settings, UrlOption, plain
from redispool.cli.site import Site
from redispool.cli.top.keyboard import Keyboard
from redispool.cli.top.screen import SORTS, Row, View, picture
from redispool.errors import ConfigError, RedispoolError
from redispool.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

_PATIENCE = 0.5  # seconds that an outage may freeze the screen
_PAGE = 10


def top(
    ctx: typer.Context,
    every: Annotated[float, typer.Option("--every", min=0.2, max=60.0, help="Seconds between two looks.")] = 1.0,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
) -> None:
    """Watch the pools live: who holds what and for how long, who waits, and how fast it goes.

    Keys: up and down choose a lease; s sorts; / filters by account, holder or pool; tab goes through the pools; r
    releases what is chosen and x quarantines its account, both after a question; q ends it. The percentiles are of the
    time that those waited who got an account since top began.
    """
    console = ctx.ensure_object(Settings).console()
    if not console.is_terminal or console.is_dumb_terminal:
        raise ConfigError(
            "top needs a terminal; in a pipe there is 'redispool status --json', or 'redispool events --follow'"
        )
    site = Site.at(url, namespace, patience=_PATIENCE)
    site.client.ping()
    _Top(site, console, every).run()


class _Top:
    """One session."""

    def __init__(self, site: Site, console: Console, every: float) -> None:
        self._watch = Watch(site)
        self._view = View(site.namespace)
        self._console = console
        self._every = every
        self._typing: str | None = None  # a filter, while it is typed
        self._question: Callable[[], str] | None = None  # what to do on 'y'; gives what to say then
        self._over = False

    def run(self) -> None:
        """Until 'q'."""
        with Keyboard() as keyboard, Live(console=self._console, screen=True, auto_refresh=False) as live:
            next_look = 0.0
            while not self._over:
                if time.monotonic() >= next_look:
                    self._watch.look()
                    next_look = time.monotonic() + self._every
                live.update(picture(self._watch, self._view, self._console.height, self._console.width), refresh=True)
                try:
                    pressed = keyboard.keys(next_look - time.monotonic())
                except EOFError:
                    return
                for key in pressed:
                    self._press(key)
                    next_look = 0.0 if self._view.message else next_look

    def _press(self, key: str) -> None:
        if self._question is not None:
            self._answer(key)
        elif self._typing is not None:
            self._type(key)
        else:
            self._command(key)

    def _command(self, key: str) -> None:
        view = self._view
        view.message = ""
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -_PAGE, "page down": _PAGE}
        match key:
            case "q":
                self._over = True
            case "s":
                names = list(SORTS)
                view.sort = names[(names.index(view.sort) + 1) % len(names)]
            case "/":
                self._typing = view.filter
                self._show_typing()
            case "escape":
                view.filter = view.pool = ""
            case "tab":
                names = ["", *(pool.status.name for pool in self._watch.pools)]
                view.pool = names[(names.index(view.pool) + 1) % len(names)] if view.pool in names else ""
            case "r" | "x":
                self._ask(key)
            case _:
                view.move(view.rows(self._watch.pools), steps.get(key, 0))

    def _ask(self, key: str) -> None:
        rows = self._view.rows(self._watch.pools)
        if not rows:
            self._view.message = "there is nothing to choose from"
            return
        row = rows[self._view.place(rows)]
        lease = row.lease
        if key == "r":
            self._question = lambda: self._release(row)
            asked = f"Release account {lease.account!r} of pool {row.pool!r}, held by {lease.owner!r}? y/n"
        else:
            self._question = lambda: self._quarantine(row)
            asked = f"Quarantine account {lease.account!r} of pool {row.pool!r}? Its holder keeps it. y/n"
        self._view.prompt = Text(plain(asked), "bold reverse")

    def _answer(self, key: str) -> None:
        question, self._question = self._question, None
        self._view.prompt = Text()
        if key.lower() != "y" or question is None:
            self._view.message = "nothing was done"
            return
        try:
            self._view.message = question()
        except (redis.RedisError, RedispoolError) as error:
            self._view.message = reason_of(error)

    def _release(self, row: Row) -> str:
        self._watch.pool(row.pool).release(row.lease.account, row.lease.owner)  # if it is still that one's
        return f"released account {row.lease.account!r} of pool {row.pool!r}"

    def _quarantine(self, row: Row) -> str:
        self._watch.pool(row.pool).quarantine(row.lease.account, "by an operator, in redispool top")
        return f"quarantined account {row.lease.account!r} of pool {row.pool!r}"

    def _type(self, key: str) -> None:
        typed = self._typing or ""
        if key in ("enter", "escape"):
            self._view.filter = typed if key == "enter" else self._view.filter
            self._typing = None
            self._view.prompt = Text()
            return
        self._typing = (
            typed[:-1] if key == "backspace" else typed + key if key.isprintable() and len(key) == 1 else typed
        )
        self._show_typing()

    def _show_typing(self) -> None:
        self._view.prompt = Text(f"Filter: {plain(self._typing or '')}_", "bold")
