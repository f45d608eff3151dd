"""The options that commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer
from rich.console import Console


@dataclass(slots=True)
class Settings:
    """What was said before the command's name."""

    debug: bool = False
    no_color: bool = False

    def console(self) -> Console:
        """Where a command writes its results."""
        return Console(no_color=self.no_color or None, highlight=False)


UrlOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="REDISPOOL_URL", metavar="URL", help="The Redis server: redis://host:6379/0 and such."
    ),
]


def shown_url(url: str) -> str:
    """The URL without what may be secret in it: user, password, query."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.partition('?')[0].rpartition('@')[2]}" if separator else "the given URL"
