"""The commands that change what accounts a pool has: add, remove, rename, set-password."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from redispool import Account, PrivateKey
from redispool.cli.options import (
    NAMESPACE,
    JsonOption,
    NamespaceOption,
    PoolArgument,
    UrlOption,
    YesOption,
    labels_from,
)
from redispool.cli.passwords import read_password
from redispool.cli.site import Report, Site
from redispool.errors import ConfigError, UnknownAccount

PasswordFile = Annotated[
    str | None, typer.Option("--password-file", metavar="FILE", help="Where the password stands; - for standard input.")
]
NameArgument = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's name.")]


def add(
    ctx: typer.Context,
    pool: Annotated[str, typer.Argument(metavar="POOL", help="The pool; one that is not there is made.")],
    account: NameArgument,
    password_file: PasswordFile = None,
    no_password: Annotated[bool, typer.Option("--no-password", help="It has none, but a key perhaps.")] = False,
    authorization_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where the authorization password stands.")
    ] = None,
    key_file: Annotated[str | None, typer.Option(metavar="FILE", help="Its private key.")] = None,
    key_password_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="What the key is encrypted with.")
    ] = None,
    max_sessions: Annotated[int, typer.Option(min=1, help="How many may hold it at a time.")] = 1,
    no_lock: Annotated[bool, typer.Option("--no-lock", help="Any number may hold it.")] = False,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="By which it can be chosen.")] = None,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Add an account, or give one that is there new credentials.

    The password is asked for; in a pipe it is what stands on standard input. JSON: {"added": 1} or {"updated": 1}.
    """
    if no_password and password_file is not None:
        raise ConfigError("--no-password and --password-file contradict each other")
    home = Site.at(url, namespace).new_pool(pool)
    password = "" if no_password else read_password(f"Password of {account}", password_file)
    authorization = None if authorization_file is None else read_password("", authorization_file)
    key = None
    if key_file is not None:
        key = PrivateKey.from_file(key_file, read_password("", key_password_file) if key_password_file else "")
    made = Account(
        account, password, authorization, key, not no_lock, max_sessions=max_sessions, labels=labels_from(label)
    )
    outcome = "added" if home.add_account(made) else "updated"
    Report(ctx, as_json).tell({outcome: 1}, lambda: Text(f"{outcome} account {account!r} in pool {pool!r}"))


def remove(
    ctx: typer.Context,
    pool: PoolArgument,
    accounts: Annotated[list[str], typer.Argument(metavar="ACCOUNT...", help="The accounts' names.")],
    yes: YesOption = False,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Remove accounts; one that is held is gone when its holder releases it.

    JSON: {"removed": 2}.
    """
    home, report = Site.at(url, namespace).pool(pool), Report(ctx, as_json)
    what = f"account {accounts[0]!r}" if len(accounts) == 1 else f"{len(accounts)} accounts"
    report.confirm(f"Remove {what} from pool {pool!r}?", yes=yes)
    home.remove_account(accounts)
    report.tell({"removed": len(accounts)}, lambda: Text(f"removed {what} from pool {pool!r}"))


def rename(
    ctx: typer.Context,
    pool: PoolArgument,
    account: NameArgument,
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="The new name.")],
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Rename an account, for every host and at once.

    JSON: {"renamed": 1}.
    """
    _member(Site.at(url, namespace), pool, account).set_name(new_name)
    Report(ctx, as_json).tell({"renamed": 1}, lambda: Text(f"renamed account {account!r} to {new_name!r}"))


def set_password(
    ctx: typer.Context,
    pool: PoolArgument,
    account: NameArgument,
    authorization: Annotated[bool, typer.Option("--authorization", help="The authorization password.")] = False,
    password_file: PasswordFile = None,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Change an account's password; every host has it from its next acquisition on.

    JSON: {"changed": 1}.
    """
    member = _member(Site.at(url, namespace), pool, account)
    kind = "authorization password" if authorization else "password"
    password = read_password(f"New {kind} of {account}", password_file)
    if authorization:
        member.set_authorization_password(password)
    else:
        member.set_password(password)
    Report(ctx, as_json).tell({"changed": 1}, lambda: Text(f"changed the {kind} of account {account!r}"))


def _member(site: Site, pool: str, account: str) -> Account:
    found = site.pool(pool).get_account_from_name(account)
    if found is None:
        raise UnknownAccount(f"account {account!r} is not in pool {pool!r}")
    return found
