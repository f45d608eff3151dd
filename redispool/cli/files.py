"""The commands that carry accounts in and out: import, export."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.text import Text

from redispool import Account
from redispool.account_files import accounts_in
from redispool.cli.options import NAMESPACE, JsonOption, NamespaceOption, PoolArgument, UrlOption, plain
from redispool.cli.site import Report, Site
from redispool.errors import ConfigError, SealError
from redispool.protocol.keys import PoolKeys
from redispool.protocol.records import decode
from redispool.sealing import seal_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redispool.pool import AccountPool
    from redispool.protocol.records import Seal

_STDIN = "-"
_FORMAT = "redispool sealed accounts 1"
_PAGE = 500


def import_(
    ctx: typer.Context,
    pool: Annotated[str, typer.Argument(metavar="POOL", help="The pool; one that is not there is made.")],
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="CSV, YAML, JSON, Exscript's [account-pool], or what export --sealed wrote; - for standard input.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the file.")] = False,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Add the accounts that a file lists, all or none; those that are there get its credentials.

    JSON: {"added": 3, "updated": 1}; with --dry-run {"valid": 4}.
    """
    report = Report(ctx, as_json)
    accounts = _read(file)
    if dry_run:
        report.tell({"valid": len(accounts)}, lambda: Text(f"{file} lists {len(accounts)} accounts"))
        return
    home = Site.at(url, namespace).new_pool(pool)
    _check_that_none_is_stripped(home, accounts)
    with report.progress("importing") as progress:
        added = home.add_account(accounts, progress=progress)
    updated = len(accounts) - added
    report.tell(
        {"added": added, "updated": updated}, lambda: Text(f"added {added}, updated {updated} in pool {pool!r}")
    )


def _read(file: str) -> list[Account]:
    """The accounts of a file, which is read once: it may be a pipe."""
    try:
        content = sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    sealed = _sealed_accounts(file, content)
    if sealed is not None:
        return sealed
    return accounts_in(content, Path("standard input" if file == _STDIN else file))


def _sealed_accounts(file: str, content: bytes) -> list[Account] | None:
    """The accounts of a sealed export; None where the file is no such."""
    try:
        document = json.loads(content) if content.lstrip().startswith(b"{") else None
    except ValueError:
        return None  # accounts_in says what is wrong with it
    match document:
        case {"format": format_, "pool": str(pool), "accounts": [*accounts]} if format_ == _FORMAT:
            seal = seal_from(None)
            return [_opened(one, seal, pool, file) for one in accounts]
    return None


def _opened(one: Any, seal: Seal | None, pool: str, file: str) -> Account:
    match one:
        case {"name": str(name), "record": str(record)}:
            return decode(name, record.encode(), seal, pool, Account)
    raise ConfigError(f"{file}: it is no whole export")


def _check_that_none_is_stripped(home: AccountPool, accounts: list[Account]) -> None:
    """A file without secrets, as export writes it, must not take those away that are there."""
    bare = {account.name for account in accounts if not _has_secrets(account)}
    there = home.accounts if bare and home.n_accounts() else []
    for account in there:
        if account.name in bare and _has_secrets(account):
            raise ConfigError(
                f"the file has no credentials for account {account.name!r}, and would take away those that it has; "
                "redispool add --no-password does that"
            )


def _has_secrets(account: Account) -> bool:
    return bool(account.password or account.authorization_password or account.key)


def export(
    pool: PoolArgument,
    sealed: Annotated[
        bool, typer.Option("--sealed", help="With the credentials, sealed as they are; 'import' takes it back.")
    ] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write there, for you alone to read.")
    ] = None,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """List the accounts without secrets, as CSV that 'import' understands; or with sealed credentials, as a backup.

    JSON: a list of objects with name, max_sessions (0: never locked), labels; 'import' understands it as well. No key
    is needed for any.
    """
    site = Site.at(url, namespace)
    site.pool(pool)
    records = _records(site, pool)
    if sealed:
        text = json.dumps({"format": _FORMAT, "pool": pool, "accounts": list(_sealed(pool, records))}, indent=1) + "\n"
    elif as_json:
        text = json.dumps([_described(name, record) for name, record in records], indent=2) + "\n"
    else:
        text = _as_csv(_described(name, record) for name, record in records)
    if output is None:
        sys.stdout.write("\n".join(map(plain, text.split("\n"))) if sys.stdout.isatty() else text)
        return
    try:
        _write_for_us_alone(output, text)
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}") from None


def _write_for_us_alone(output: str, text: str) -> None:
    with open(os.open(output, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as out:  # noqa: PTH123
        if stat.S_ISREG(os.fstat(out.fileno()).st_mode):
            os.fchmod(out.fileno(), 0o600)  # it may have been there, for all to read
            out.truncate(0)
        out.write(text)


def _records(site: Site, pool: str) -> Iterator[tuple[str, bytes]]:
    """Each account's name and record, in the order added."""
    keys = PoolKeys(site.namespace, pool)
    names = cast("list[bytes]", site.client.lrange(keys.members, 0, -1))
    for start in range(0, len(names), _PAGE):
        page = names[start : start + _PAGE]
        records = cast("list[bytes | None]", site.client.hmget(keys.accounts, page))
        for name, record in zip(page, records, strict=True):
            if record is not None:  # else it was removed meanwhile
                yield name.decode(), record


def _sealed(pool: str, records: Iterator[tuple[str, bytes]]) -> Iterator[dict[str, str]]:
    for name, record in records:
        if record.partition(b"\n")[2].startswith(b"{"):
            raise SealError(
                f"account {name!r} in pool {pool!r} is not sealed; set REDISPOOL_KEY and run 'redispool reseal {pool}'"
            )
        yield {"name": name, "record": record.decode()}


def _described(name: str, record: bytes) -> dict[str, Any]:
    """What the record's first line tells, which is never sealed."""
    sessions, *labels = record.partition(b"\n")[0].decode().strip("\t").split("\t")
    if not sessions.isdecimal():
        raise ConfigError(f"the record of account {name!r} is none that redispool wrote")
    return {"name": name, "max_sessions": int(sessions), "labels": dict(label.split("=", 1) for label in labels)}


def _as_csv(described: Iterator[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["name", "max_sessions", "labels"])
    for one in described:
        words = [f"{name}={value}" for name, value in one["labels"].items()]
        if any("," in word or word != word.strip() for word in words):
            raise ConfigError(f"a label of account {one['name']!r} has a comma or outer spaces: export it with --json")
        writer.writerow([one["name"], one["max_sessions"], ",".join(words)])
    return out.getvalue()
