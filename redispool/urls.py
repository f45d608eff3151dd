"""What a Redis URL says: read strictly, so that a mistake is named at once and a password never is."""

from __future__ import annotations

import math
import re
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_plus

from redispool.discretion import discreet
from redispool.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"[\w.-]+|\[[0-9a-fA-F:.]+(?:%\w+)?\]")
_CONTROL = r"[\x00-\x1f\x7f]"
_MAX_PORT = 65535
_PERCENT = "in a password, write @ : / ? # and % as %40 %3A %2F %3F %23 and %25"
_KINDS = {
    "redis": ("redis", False),
    "rediss": ("redis", True),
    "unix": ("unix", False),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "embedded": ("embedded", False),
}
SCHEMES = ", ".join(f"{scheme}://" for scheme in _KINDS)


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL says.

    Attributes:
        kind: 'redis', 'unix', 'cluster', 'sentinel' or 'embedded'.
        tls: whether the connection is encrypted.
        hosts: hosts and ports: of the server, of nodes of the cluster, or of the sentinels.
        path: the socket, the service's name or the directory, by kind.
        settings: what redis-py calls the rest.
        sentinel_settings: the same for the sentinels.
        min_replicas: how many replicas must have a grant before it is answered.
    """

    kind: str
    tls: bool
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    sentinel_settings: dict[str, Any] = field(default_factory=dict, repr=False)
    min_replicas: int = 0


@discreet
def parse(url: str, *, source: str = "the Redis URL") -> Address:
    """What the URL says.

    Args:
        url: one with a scheme of `SCHEMES`.
        source: where it is from, for the message.

    Raises:
        ConfigError: it makes no sense; the message says what is right, and quotes nothing that may be a secret.
    """
    try:
        address = _parse(url)
    except _Mistake as mistake:
        raise ConfigError(f"{source}: {mistake}") from None  # what it is from may quote the password
    return replace(address, min_replicas=address.settings.pop("min_replicas", 0))


class _Mistake(Exception):  # noqa: N818 - it never leaves this module
    """What is wrong with a URL."""


def _split(url: str) -> tuple[str, str, str, str | None]:
    """Scheme, host part, path and query."""
    match = _URL.fullmatch(url)
    if match is None:
        raise _Mistake(f"it must begin with one of {SCHEMES}")
    scheme, netloc, path, query, fragment = match.groups()
    if scheme.lower() not in _KINDS:
        raise _Mistake(f"the scheme {scheme}:// is unknown; there are {SCHEMES}")
    if fragment is not None:
        raise _Mistake(f"it must not contain a '#' ({_PERCENT})")
    if re.search(_CONTROL, url) or re.search(_CONTROL, unquote(path)):
        raise _Mistake("it must not contain a control character")
    return scheme.lower(), netloc, path, query


def _parse(url: str) -> Address:
    scheme, netloc, path, query = _split(url)
    kind, tls = _KINDS[scheme]
    if kind == "embedded":
        return Address(kind, tls, path=unquote(netloc + path), settings=_options(query, kind, tls=tls))
    userinfo, at, hosts = netloc.rpartition("@")
    places = _hosts(hosts, kind)  # first, for what else is wrong may be the end of a password
    options = _options(query, kind, tls=tls)
    settings = _with_credentials(options, userinfo) if at else options
    if kind == "unix":
        return Address(kind, tls, path=_socket(hosts, path), settings=settings)
    if kind == "sentinel":
        return _sentinel(places, path, settings, tls=tls)
    if kind == "cluster":
        if path not in {"", "/", "/0"}:
            raise _Mistake("a cluster has no database but 0: nothing may follow the hosts")
        return Address(kind, tls, places, settings=settings)
    if len(places) > 1:
        raise _Mistake("several hosts need redis+cluster:// or redis+sentinel://")
    return Address(kind, tls, places, settings=_with_database(settings, path.removeprefix("/")))


def _hosts(text: str, kind: str) -> tuple[tuple[str, int], ...]:
    default = 26379 if kind == "sentinel" else 6379
    if kind == "unix":
        return ()
    return tuple(_host(one, default) for one in text.split(","))


def _host(text: str, default_port: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":") if re.search(r":[^\]]*$", text) else (text, "", "")
    if host and not _HOST.fullmatch(host):
        raise _Mistake(f"a host is a name or an address, an IPv6 address in brackets ({_PERCENT})")
    if colon and not (port.isascii() and port.isdecimal() and 0 < int(port) <= _MAX_PORT):
        raise _Mistake(f"a port is a number from 1 to {_MAX_PORT} ({_PERCENT})")
    return host.strip("[]") or "localhost", int(port or default_port)


def _socket(hosts: str, path: str) -> str:
    if hosts or path in {"", "/"}:
        raise _Mistake("a unix socket is named by its whole path, as in unix:///run/redis/redis.sock?db=0")
    return unquote(path)


def _sentinel(places: tuple[tuple[str, int], ...], path: str, settings: dict[str, Any], *, tls: bool) -> Address:
    service, _, database = path.removeprefix("/").partition("/")
    if not service:
        raise _Mistake("the name of the service is missing: redis+sentinel://host:26379/service/0")
    sentinel = {
        name.removeprefix("sentinel_"): settings.pop(name) for name in list(settings) if name.startswith("sentinel_")
    }
    shared = {name: value for name, value in settings.items() if name.startswith(("ssl_", "socket_"))}
    return Address(
        "sentinel", tls, places, unquote(service), _with_database(settings, database), {**shared, **sentinel}
    )


def _with_database(settings: dict[str, Any], text: str) -> dict[str, Any]:
    if not text:
        return settings
    if "db" in settings:
        raise _Mistake("the database is given twice, in the path and as db=")
    return {**settings, "db": _database(text)}


def _with_credentials(settings: dict[str, Any], userinfo: str) -> dict[str, Any]:
    user, _, password = userinfo.partition(":")
    found = {"username": unquote(user), "password": unquote(password)}
    given = {name: value for name, value in found.items() if value}
    for name in given:
        if name in settings:
            raise _Mistake(f"the {name} is given twice, before the host and as {name}=")
    return {**settings, **given}


def _options(query: str | None, kind: str, *, tls: bool) -> dict[str, Any]:
    known = _known(kind, tls=tls)
    settings: dict[str, Any] = {}
    for part in filter(None, (query or "").split("&")):
        name, equals, text = part.partition("=")
        if not equals or not re.fullmatch(r"[a-z_]{1,40}", name):
            raise _Mistake(f"what follows the '?' is name=value&name=value ({_PERCENT})")
        if name not in known:
            why = "needs TLS, a rediss scheme" if name in _TLS_OPTIONS else "is unknown here"
            # with an @ behind it, it may be the end of a password
            which = "an option" if "@" in (query or "") else f"the option {name}="
            raise _Mistake(f"{which} {why}; there are {', '.join(sorted(known))}")
        if name in settings:
            raise _Mistake(f"the option {name}= is given twice")
        settings[name] = _read(known[name], name, unquote_plus(text))
    if tls:
        settings.setdefault("ssl_check_hostname", settings.get("ssl_cert_reqs") != "none")
        _check_certificates(settings)
    return settings


def _check_certificates(settings: dict[str, Any]) -> None:
    """Read the files now: what redis-py says of them later names none, and may ask the terminal for a password."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = [settings.get(f"ssl_ca_{kind}") for kind in ("certs", "path", "data")]
    certificate, key = settings.get("ssl_certfile"), settings.get("ssl_keyfile")
    if key and not certificate:
        raise _Mistake("the option ssl_keyfile= needs ssl_certfile=, the certificate to which the key belongs")
    try:
        if any(authorities):
            context.load_verify_locations(*authorities)
    except (OSError, ValueError):
        raise _Mistake("what ssl_ca_certs=, ssl_ca_path= or ssl_ca_data= gives is no certificate in PEM") from None
    try:
        if certificate:
            context.load_cert_chain(certificate, key, lambda: settings.get("ssl_password", ""))
    except (OSError, ValueError):
        raise _Mistake(
            "ssl_certfile= and ssl_keyfile= are no certificate in PEM and the key that belongs to it, or the key is "
            "encrypted and ssl_password= is not its password"
        ) from None


def _read(reader: Callable[[str], Any], name: str, text: str) -> Any:
    try:
        return reader(text)
    except ValueError as error:
        raise _Mistake(f"the option {name}= must be {error}") from None


def _known(kind: str, *, tls: bool) -> dict[str, Callable[[str], Any]]:
    known = dict(_OPTIONS)
    if kind == "cluster":
        for name in ("health_check_interval", "retry_on_timeout", "db"):  # redis-py takes no heed of them there
            del known[name]
    if kind in {"unix", "embedded"}:
        del known["socket_keepalive"]
    if kind == "embedded":
        del known["username"], known["password"], known["min_replicas"]
    if kind == "sentinel":
        known |= {"sentinel_username": str, "sentinel_password": str}
    if tls:
        known |= _TLS_OPTIONS
        if kind == "cluster":
            for name in ("ssl_min_version", "ssl_ciphers"):  # redis-py drops them there without a word
                del known[name]
    return known


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise _Mistake("the database is a number, as in redis://localhost:6379/0")
    return int(text)


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("a whole number")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError("a number of seconds above 0")
    return seconds


def _yes_or_no(text: str) -> bool:
    if text.lower() in {"1", "t", "true", "y", "yes"}:
        return True
    if text.lower() in {"0", "f", "false", "n", "no"}:
        return False
    raise ValueError("true or false")


def _one_of(**choices: Any) -> Callable[[str], Any]:
    """Reads a name for a value; a leading `v` lets a number be a name."""
    values = {name.removeprefix("v").replace("_", "."): value for name, value in choices.items()}

    def read(text: str) -> Any:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return values[text]

    return read


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise ValueError("a file that exists")
    return text


def _folder(text: str) -> str:
    if not Path(text).is_dir():
        raise ValueError("a directory that exists")
    return text


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "client_name": str,
    "db": _database,
    "decode_responses": _yes_or_no,
    "health_check_interval": _whole,
    "max_connections": _whole,
    "min_replicas": _whole,
    "password": str,
    "protocol": _one_of(v2=2, v3=3),
    "retry_on_timeout": _yes_or_no,
    "socket_connect_timeout": _seconds,
    "socket_keepalive": _yes_or_no,
    "socket_read_size": _whole,
    "socket_timeout": _seconds,
    "username": str,
}
_TLS_OPTIONS: dict[str, Callable[[str], Any]] = {
    "ssl_ca_certs": _file,
    "ssl_ca_data": str,
    "ssl_ca_path": _folder,
    "ssl_cert_reqs": _one_of(none="none", optional="optional", required="required"),
    "ssl_certfile": _file,
    "ssl_check_hostname": _yes_or_no,
    "ssl_ciphers": str,
    "ssl_keyfile": _file,
    "ssl_min_version": _one_of(v1_2=ssl.TLSVersion.TLSv1_2, v1_3=ssl.TLSVersion.TLSv1_3),
    "ssl_password": str,
}
