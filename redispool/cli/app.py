"""The command line as a whole: its global options, its commands, and how they end."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from redispool.cli import accounts, files, looking, routes, ruling, service
from redispool.cli.bench import bench
from redispool.cli.demo.command import demo
from redispool.cli.doctor import doctor
from redispool.cli.events import events
from redispool.cli.exits import ExitStatus, end_on_signals, reason_of, status_of
from redispool.cli.options import Settings
from redispool.cli.run import run as run_command
from redispool.cli.top.command import top
from redispool.cli.web import web

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

app = typer.Typer(
    help="Share a pool of login accounts among any number of workers on any number of hosts, through Redis.",
    epilog="Exit status: 0 ok, 1 failed, 2 wrong usage, 69 no Redis server, 75 no account in time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # their locals would show secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"redispool {version('redispool')}\n")
        raise typer.Exit


def _leave_out_colors(wanted: bool) -> None:
    if wanted:
        from typer import rich_utils  # noqa: PLC0415 - it takes long, and few need it

        rich_utils.COLOR_SYSTEM = None  # of usage errors and of --help


@app.callback()
def _options(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    no_color: Annotated[
        bool,
        typer.Option(
            "--no-color",
            callback=_leave_out_colors,
            is_eager=True,
            help="No colours; so does NO_COLOR in the environment.",
        ),
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version, and end.")
    ] = False,
) -> None:
    settings = ctx.ensure_object(Settings)
    settings.debug = debug
    settings.no_color = no_color


_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Looking": {
        "pools": looking.pools, "status": looking.status, "waiting": looking.waiting, "show": looking.show,
        "events": events, "top": top, "web": web,
    },
    "Accounts": {
        "add": accounts.add, "import": files.import_, "export": files.export, "remove": accounts.remove,
        "rename": accounts.rename, "set-password": accounts.set_password,
    },
    "Ruling": {
        "quarantine": ruling.quarantine, "restore": ruling.restore, "reserve": ruling.reserve,
        "release": ruling.release, "configure": ruling.configure,
    },
    "Service": {"doctor": doctor, "acl": service.acl, "reseal": service.reseal, "bench": bench},
}  # fmt: skip
app.command("run", context_settings={"allow_interspersed_args": False})(run_command)
for panel, commands in _COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel)(command)
app.add_typer(routes.app, name="routes", rich_help_panel="Ruling")
app.command()(demo)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit status. Raises the command's own error only under --debug."""
    settings = Settings()
    end_on_signals()
    try:
        app(args=arguments, prog_name="redispool", obj=settings)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # who reads our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitStatus.READER_GONE
        return end.code if isinstance(end.code, int) else ExitStatus.OK
    except Exception as error:
        if settings.debug:
            raise
        settings.complain(reason_of(error))
        return status_of(error)
    return ExitStatus.OK
