"""Where the commands find their pools, and how they tell what they found."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, cast

import redis
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from redispool import AccountManager, AccountPool
from redispool.arguments import check_namespace, check_pool_name
from redispool.cli.options import Settings
from redispool.connect import connect, private_client
from redispool.errors import ConfigError, RedispoolError
from redispool.protocol.keys import PRIVATE_PREFIX, pools_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import RenderableType

_PATIENCE = 5.0  # seconds to ride out an outage; somebody looks on


class UnknownPool(RedispoolError, LookupError):  # noqa: N818 - as the library's own are called
    """There is no pool of that name."""


@dataclass(frozen=True, slots=True)
class Site:
    """A namespace on a server."""

    client: redis.Redis | redis.RedisCluster  # of our own: it answers in bytes
    namespace: str
    patience: float = _PATIENCE

    @classmethod
    def at(cls, url: str | None, namespace: str, *, patience: float = _PATIENCE) -> Site:
        """The site that the options name."""
        return cls(private_client(connect(url)), check_namespace(namespace), patience)

    def names(self, *, private: bool = False) -> list[str]:
        """The names of all pools, in their order; of those of one process only on request.

        Raises:
            ConfigError: the server's user has rights on one pool only (see `redispool.acl`).
        """
        try:
            found = cast("set[bytes]", self.client.smembers(pools_key(self.namespace)))
        except redis.exceptions.NoPermissionError:
            raise ConfigError("this user of the server may not see what pools there are; name the pool") from None
        return self.shared(found, private=private)

    @staticmethod
    def shared(found: Iterable[bytes], *, private: bool = False) -> list[str]:
        """The names that were found, in their order, without those of one process, unless they are asked for."""
        names = sorted(name.decode("utf-8", "replace") for name in found)
        return [name for name in names if private or not name.startswith(PRIVATE_PREFIX)]

    def pool(self, name: str) -> AccountPool:
        """The pool of that name. Raises UnknownPool."""
        if not self._may_be(check_pool_name(name)):
            known = ", ".join(self.names()) or "none at all"
            raise UnknownPool(f"there is no pool {name!r} in namespace {self.namespace!r}; there are: {known}")
        return self.new_pool(name)

    def _may_be(self, name: str) -> bool:
        """Whether there is such a pool; True for who may not ask, and has rights on one pool only."""
        try:
            return bool(self.client.sismember(pools_key(self.namespace), name))
        except redis.exceptions.NoPermissionError:
            return True

    def new_pool(self, name: str) -> AccountPool:
        """The pool of that name, which may be one that is not there yet."""
        return AccountPool(name=name, redis=self.client, namespace=self.namespace, patience=self.patience)

    def pools(self, name: str | None, *, private: bool = False) -> list[AccountPool]:
        """The pool of that name; all of them where no name is given."""
        return [self.pool(name)] if name is not None else [self.new_pool(one) for one in self.names(private=private)]

    def manager(self) -> AccountManager:
        """The manager of the routing rules."""
        return AccountManager(redis=self.client, namespace=self.namespace, patience=self.patience)


class Report:
    """Tells the result of a command, as text or as one JSON document.

    Args:
        ctx: the command's context.
        as_json: which of both.
    """

    def __init__(self, ctx: typer.Context, as_json: bool) -> None:
        self._settings = ctx.ensure_object(Settings)
        self.as_json = as_json
        self.console = self._settings.wide_console()

    def tell(self, document: Any, picture: Callable[[], RenderableType]) -> None:
        """Write the document, or the picture of it."""
        if self.as_json:
            self.write(document, indent=2)
        else:
            self.console.print(picture())

    def write(self, document: Any, indent: int | None = None) -> None:
        """Write a JSON document: ASCII, so that nothing in it can steer a terminal."""
        sys.stdout.write(json.dumps(document, default=_plain_data, indent=indent) + "\n")
        sys.stdout.flush()

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask, where somebody can answer; ends the command where he does not agree."""
        if not yes and sys.stdin.isatty():
            typer.confirm(question, abort=True, err=True)

    def progress(self, what: str) -> _Bar:
        """A bar on standard error, if that is a terminal."""
        return _Bar(self._settings, what)


class _Bar:
    """Shows how far a long work has got; for a `with` block that gives what to call."""

    def __init__(self, settings: Settings, what: str) -> None:
        console = settings.error_console()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(what, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self._progress.start()
        return lambda done, total: self._progress.update(self._task, completed=done, total=total)

    def __exit__(self, *_exception: object) -> None:
        self._progress.stop()


def _plain_data(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} is no data")
