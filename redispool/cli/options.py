"""The options that commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

import redis
import typer
from rich.console import Console
from rich.text import Text

from redispool.errors import ConfigError, RedispoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMESPACE = "redispool"  # of pools whose keys were given no other
_AS_WIDE_AS_IT_GETS = 10_000  # characters; who reads a pipe wants whole names


@dataclass(slots=True)
class Settings:
    """What was said before the command's name."""

    debug: bool = False
    no_color: bool = False

    def console(self) -> Console:
        """Where a command writes its results."""
        return Console(no_color=self.no_color or None, highlight=False)

    def wide_console(self) -> Console:
        """The same for tables, of which nothing is cut off or wrapped in a pipe."""
        console = self.console()
        return console if console.is_terminal else Console(no_color=True, highlight=False, width=_AS_WIDE_AS_IT_GETS)

    def error_console(self) -> Console:
        """Where a command complains."""
        return Console(stderr=True, no_color=self.no_color or None, highlight=False, soft_wrap=True)

    def complain(self, text: str) -> None:
        """Say what went wrong, in a line on standard error."""
        self.error_console().print(Text.assemble(("redispool: ", "bold red"), plain(text)))


UrlOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="REDISPOOL_URL", metavar="URL", help="The Redis server: redis://host:6379/0 and such."
    ),
]
NamespaceOption: TypeAlias = Annotated[
    str, typer.Option("--namespace", envvar="REDISPOOL_NAMESPACE", metavar="NAME", help="What all keys begin with.")
]


def pools_that_begin(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of pools for the shell to complete; none where the server cannot be asked."""
    from redispool.cli.site import Site  # noqa: PLC0415 - it needs this module

    try:
        names = Site.at(ctx.params.get("url"), ctx.params.get("namespace") or NAMESPACE).names()
    except (redis.RedisError, RedispoolError):
        return []
    return [name for name in names if name.startswith(incomplete)]


PoolArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="POOL", help="The pool's name.", autocompletion=pools_that_begin)
]
OptionalPool: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="[POOL]", help="The pool's name; all if not given.", autocompletion=pools_that_begin),
]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]


def shown_url(url: str) -> str:
    """The URL without what may be secret in it: user, password, query."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.partition('?')[0].rpartition('@')[2]}" if separator else "the given URL"


def labels_from(words: Sequence[str] | None) -> dict[str, str] | None:
    """The labels that were given as NAME=VALUE."""
    labels: dict[str, str] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ConfigError(f"--label must look like region=eu, not {word!r}")
        labels[name] = value
    return labels or None


def plain(text: str) -> str:
    """Text of somebody else's, that cannot steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
