"""Keeps secrets out of tracebacks that show local variables, as those of rich, Sentry and pytest do."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from redispool.errors import RedispoolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

P = ParamSpec("P")
T = TypeVar("T")
_PACKAGE = __name__.partition(".")[0]


def discreet(function: Callable[P, T]) -> Callable[P, T]:
    """For what is given secrets, or reads them: errors come out of it without those of our frames that know them.

    The text of an error of ours, or of redis-py, says all that there is to say. Another one, from a callable of the
    user's say, keeps the user's frames; one that has only ours keeps the innermost.
    """

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return function(*arguments, **options)
        except BaseException as error:
            del arguments, options
            if isinstance(error, RedispoolError) or _package_of(type(error).__module__) == "redis":
                error.__cause__ = error.__context__ = error.__traceback__ = None
            else:
                error.__traceback__ = _telling(error.__traceback__)
            raise

    return call


def _telling(traceback: TracebackType | None) -> TracebackType | None:
    """The frames from the first on that is not ours, else the innermost."""
    while (
        traceback is not None
        and traceback.tb_next is not None
        and _package_of(traceback.tb_frame.f_globals.get("__name__", "")) == _PACKAGE
    ):
        traceback = traceback.tb_next
    return traceback


def _package_of(module: str) -> str:
    return module.partition(".")[0]
