"""Who is let in: each request's Host and origin are checked, and each reply says what a browser may do with it."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = {
    # nothing inline and nothing from elsewhere; and no script of ours could make HTML of a text if it tried
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_SAME_SITE = {"same-origin", "none"}  # 'none': typed or bookmarked


@dataclass(frozen=True, slots=True)
class Gate:
    """What is let in.

    Attributes:
        hosts: the names by which the server may be spoken to; whoever makes another name point here gets nothing.
        any_address: whether addresses are let in too (no name can be made to be one).
        token: what actions need; None where there are none.
    """

    hosts: frozenset[str] = LOOPBACK_NAMES
    any_address: bool = False
    token: str | None = None

    def knows_host(self, headers: Headers) -> bool:
        """Whether a request is for one of our names."""
        given = headers.getlist("host")
        name = _host_name(given[0]) if len(given) == 1 else None
        return name is not None and (name in self.hosts or (self.any_address and _is_address(name)))

    def is_ours(self, headers: Headers) -> bool:
        """Whether a request comes from our own page (or from no page at all, where it only reads)."""
        return headers.get("sec-fetch-site", "same-origin") in _SAME_SITE

    def may_act(self, headers: Headers) -> str | None:
        """Why a request may not change anything; None if it may."""
        if self.token is None:
            return "this page only shows; 'redispool web --admin' can act"
        if headers.getlist("origin") != [f"http://{headers['host']}"] or not self.is_ours(headers):
            return "actions are taken from this page only"
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
            return "the token is missing or wrong; it stands on the terminal of 'redispool web --admin'"
        return None


class Guard:
    """Lets in what the gate knows, and sets the headers of each reply.

    Args:
        app: what is guarded.
        gate: what is let in.
    """

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        app: ASGIApp = self._app
        if not self._gate.knows_host(Headers(scope=scope)):
            app = PlainTextResponse("redispool: this server is not known by that name\n", 421)
        await app(scope, receive, send_guarded)


def _host_name(host: str) -> str | None:
    """The name in a Host header, without the port; None where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
