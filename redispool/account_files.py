"""Accounts from files: Exscript's `[account-pool]` sections, CSV, and YAML.

All or nothing: a bad line raises, naming the file and the line, before an account is returned. What a
file holds is never quoted, but for the names of accounts: a column too many, and a password would be.
"""

from __future__ import annotations

import base64
import binascii
import configparser
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redispool.account import Account
from redispool.arguments import MAX_SESSIONS
from redispool.discretion import discreet
from redispool.errors import ConfigError
from redispool.private_key import PrivateKey

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

COLUMNS = ("name", "password", "password2", "key_file", "key_password", "max_sessions", "labels")
_SECTION = "account-pool"
_EXACT = {"password", "password2", "key_password"}  # all others lose the space around them
_KNOWN = f"known are {', '.join(COLUMNS)}"


class _BadLine(Exception):  # noqa: N818 - it never leaves load_accounts, which adds the file's name
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class _Row:
    """An account as its file describes it."""

    line: int
    cells: dict[str, str]
    labels: dict[str, str] | None = None  # where the file gives them as a mapping


@discreet
def load_accounts(path: str | os.PathLike[str]) -> list[Account]:
    """The accounts that a file lists, in its order.

    A file named `*.csv`, `*.yaml` or `*.yml` is read as such; any other is taken for what its content looks like:

    - `[account-pool]` sections in Exscript's format: `name = password in base64`; other sections are ignored.
    - CSV (comma, semicolon or tab), whose first line names the columns: `name`, and any of `password`, `password2`,
      `key file`, `key_password`, `max_sessions`, `labels` (`region=eu,tier=2`).
    - YAML or JSON: a list of mappings with these names (or a mapping whose `accounts` is such a list); `labels` is a
      mapping.

    With `max_sessions` 0 an account is never locked (`needs_lock=False`). A key file is looked for beside the accounts
    file. Passwords are taken as they stand, with any space around them.

    Args:
        path: the file, in UTF-8.

    Raises:
        ConfigError: the file cannot be read, or a line of it is bad; the message names both.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    return accounts_in(content, file)


@discreet
def accounts_in(content: bytes, file: Path) -> list[Account]:
    """The accounts that the content of a file lists, as `load_accounts` reads them."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}, line {line}: it is not UTF-8") from None
    if not text.strip():
        raise ConfigError(f"{file}: the file is empty")
    try:
        return _accounts(_reader(file, text)(text), file.parent)
    except _BadLine as error:
        raise ConfigError(f"{file}, line {error.line}: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _reader(file: Path, text: str) -> Callable[[str], Iterator[_Row]]:
    """What reads the file's format."""
    by_suffix = {".csv": _read_csv, ".yaml": _read_yaml, ".yml": _read_yaml, ".json": _read_yaml}
    if reader := by_suffix.get(file.suffix.lower()):
        return reader
    if re.match(r"\s*(\{|\[\s*[{\]])", text):  # JSON, which is YAML
        return _read_yaml
    lines = [line.strip() for line in text.splitlines()]
    if any(line.startswith("[") and line.endswith("]") for line in lines):
        return _read_sections
    first = next((line for line in lines if line and not line.startswith(("#", "%"))), "")
    if first.startswith("-") or re.match(r"[\w ]+:(\s|$)", first):
        return _read_yaml
    return _read_csv


def _accounts(rows: Iterable[_Row], folder: Path) -> list[Account]:
    accounts = []
    lines: dict[str, int] = {}
    for row in rows:
        try:
            account = _account(row, folder)
        except ConfigError as error:
            raise _BadLine(row.line, str(error)) from None
        if account.name in lines:
            raise _BadLine(row.line, f"account {account.name!r} stands in line {lines[account.name]} already")
        lines[account.name] = row.line
        accounts.append(account)
    return accounts


def _account(row: _Row, folder: Path) -> Account:
    cells = {column: cell if column in _EXACT else cell.strip() for column, cell in row.cells.items()}
    if not cells.get("name"):
        raise ConfigError("the account has no name")
    key = None
    if file := cells.get("key_file"):
        key = PrivateKey.from_file(folder / Path(file).expanduser(), cells.get("key_password", ""))
    elif cells.get("key_password"):
        raise ConfigError("there is a key_password, and no key_file")
    sessions = _sessions(cells.get("max_sessions") or "1")
    return Account(
        cells["name"],
        cells.get("password", ""),
        cells.get("password2") or None,
        key,
        sessions > 0,
        max_sessions=max(sessions, 1),
        labels=_labels(cells.get("labels", "")) if row.labels is None else row.labels,
    )


def _sessions(cell: str) -> int:
    if not (cell.isascii() and cell.isdigit() and len(cell) <= len(str(MAX_SESSIONS)) and int(cell) <= MAX_SESSIONS):
        raise ConfigError(f"max_sessions must be a whole number from 1 to {MAX_SESSIONS}, or 0: never locked")
    return int(cell)


def _labels(cell: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for part in cell.split(",") if cell else ():
        name, equals, value = (word.strip() for word in part.partition("="))
        if not name or not equals:
            raise ConfigError("labels must look like region=eu,tier=2")
        if name in labels:
            raise ConfigError("a label stands twice")
        labels[name] = value
    return labels


def _column(name: str) -> str:
    """A column's name as we know it: 'Key file' and 'key-file' are key_file."""
    column = re.sub(r"[\s_-]+", "_", name.strip().lower())
    return {"key": "key_file", "keyfile": "key_file"}.get(column, column)


# -- Exscript's sections -------------------------------------------------------------------------------------------


class _SectionParser(configparser.RawConfigParser):
    """Reads the file as the heritage does, and knows in which line each account of the section stands."""

    def __init__(self) -> None:
        super().__init__(default_section="\0")
        self.line = 0
        self.lines: dict[str, int] = {}
        self._within = False

    def numbered(self, text: str) -> Iterator[str]:
        """The lines of the text, of which `line` is the number of the last one given."""
        for self.line, content in enumerate(io.StringIO(text), 1):
            if header := self.SECTCRE.match(content):  # '[' alone may begin a name
                self._within = header["header"] == _SECTION
            yield content

    def optionxform(self, optionstr: str) -> str:
        """Leave the option as it is; asked for each while the parser is at its line."""
        if self._within:
            self.lines.setdefault(optionstr, self.line)
        return optionstr


def _read_sections(text: str) -> Iterator[_Row]:
    parser = _SectionParser()
    try:
        parser.read_file(parser.numbered(text))
    except (configparser.DuplicateOptionError, configparser.DuplicateSectionError) as error:
        what = f"account {error.option!r}" if isinstance(error, configparser.DuplicateOptionError) else "the section"
        raise _BadLine(error.lineno or parser.line, f"{what} stands there for the second time") from None
    except configparser.MissingSectionHeaderError as error:
        raise _BadLine(error.lineno, f"it is in no section; the first line should be [{_SECTION}]") from None
    except configparser.ParsingError as error:
        raise _BadLine(error.errors[0][0], "it is not of the form: name = password in base64") from None
    if not parser.has_section(_SECTION):
        raise ConfigError(f"there is no section [{_SECTION}]")
    for name in parser.options(_SECTION):
        line = parser.lines.get(name, 1)
        yield _Row(line, {"name": name, "password": _from_base64(parser.get(_SECTION, name), line)})


def _from_base64(encoded: str, line: int) -> str:
    try:
        password = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _BadLine(line, "the password is not in base64") from None
    try:
        return password.decode()
    except UnicodeDecodeError:
        return password.decode("latin-1")  # as the heritage does


# -- CSV -----------------------------------------------------------------------------------------------------------


def _read_csv(text: str) -> Iterator[_Row]:
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not columns and any(cells):
                columns = _header(cells, line)
            elif any(cells):
                if len(cells) != len(columns):
                    raise _BadLine(line, f"it has {len(cells)} columns, and the first line names {len(columns)}")
                yield _Row(line, dict(zip(columns, cells, strict=True)))
            line = reader.line_num + 1
    except csv.Error:
        raise _BadLine(line, "it is no CSV: look at its quotes") from None


def _header(cells: list[str], line: int) -> list[str]:
    columns = [_column(cell) for cell in cells]
    if "name" not in columns:  # perhaps there is no such line, and these are an account's
        raise _BadLine(line, f"it must name the columns, 'name' among them; {_KNOWN}")
    for number, column in enumerate(columns, 1):
        if column not in COLUMNS:
            raise _BadLine(line, f"column {number} is unknown: {cells[number - 1]!r}; {_KNOWN}")
        if column in columns[: number - 1]:
            raise _BadLine(line, f"column {column!r} stands there twice")
    return columns


# -- YAML ----------------------------------------------------------------------------------------------------------


def _read_yaml(text: str) -> Iterator[_Row]:
    try:
        import yaml  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError("YAML needs the pyyaml package: pip install 'redispool[yaml]'") from None
    try:
        # nodes only: nothing is constructed, each has its line, and a password of digits stays what it is
        document = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # its own message would quote the line
        line = 1 if mark is None else mark.line + 1
        raise _BadLine(line, "it is no valid YAML; put quotes around what has special characters") from None
    except RecursionError:
        raise ConfigError("it is nested too deeply") from None
    if isinstance(document, yaml.MappingNode):
        fields = _mapping(document)
        if list(fields) != ["accounts"]:
            raise ConfigError("a list of accounts is needed, alone or under 'accounts:'")
        document = fields["accounts"][1]
    if document is None or _is_null(document):
        return
    if not isinstance(document, yaml.SequenceNode):
        raise ConfigError("a list of accounts is needed, alone or under 'accounts:'")
    for item in document.value:
        yield _yaml_row(item)


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _is_null(node: Any) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _mapping(node: Any) -> dict[str, tuple[int, Any]]:
    """The entries of a mapping: key -> line and node."""
    if node.id != "mapping":
        raise _BadLine(_line(node), "a mapping is needed here, such as name: alice")
    entries: dict[str, tuple[int, Any]] = {}
    for key, value in node.value:
        name = _scalar(key)
        if name in entries:
            raise _BadLine(_line(key), "an entry stands there for the second time")
        entries[name] = (_line(key), value)
    return entries


def _scalar(node: Any) -> str:
    if node.id != "scalar":
        raise _BadLine(_line(node), "a plain value is needed here")
    plain = {"str", "int", "float", "bool", "null", "timestamp"}
    if node.tag.removeprefix("tag:yaml.org,2002:") not in plain:
        raise _BadLine(
            _line(node), "tags and merge keys are not allowed; put quotes around what has special characters"
        )
    text = "" if _is_null(node) else str(node.value)
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")  # JSON escapes some characters in two halves
    except UnicodeDecodeError:
        raise _BadLine(_line(node), "half a character is escaped") from None


def _yaml_row(item: Any) -> _Row:
    cells: dict[str, str] = {}
    labels = None
    for name, (line, node) in _mapping(item).items():
        column = _column(name)
        if column not in COLUMNS:
            raise _BadLine(line, f"unknown column; {_KNOWN}")
        if column in cells:
            raise _BadLine(line, f"column {column!r} stands there twice")
        if column == "labels" and node.id == "mapping":
            labels = {label: _scalar(value) for label, (_, value) in _mapping(node).items()}
        else:
            cells[column] = _scalar(node)
    return _Row(_line(item), cells, labels)
