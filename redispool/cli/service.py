"""The commands that serve a pool's keepers: acl, reseal."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from redispool.acl import acl_line
from redispool.cli.options import NAMESPACE, JsonOption, NamespaceOption, PoolArgument, UrlOption
from redispool.cli.passwords import read_password
from redispool.cli.site import Report, Site
from redispool.errors import ConfigError


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
