"""The command line, `redispool`: an extra, for which the library itself needs nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXTRA = {"typer", "rich", "click"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after the command's name; None for those that the process was started with.

    Returns:
        The exit status (`redispool.cli.exits.ExitStatus`).
    """
    try:
        from redispool.cli.app import run  # noqa: PLC0415 - it needs the extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(f"redispool: the command line needs {error.name}; pip install 'redispool[cli]'\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return run(arguments)
