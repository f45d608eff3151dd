"""The routes: the page's files, what is new, and the actions."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from importlib import resources
from typing import TYPE_CHECKING, Any

import redis
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from redispool.errors import RedispoolError
from redispool.web.board import Full
from redispool.web.gate import Guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

    from redispool.pool import AccountPool
    from redispool.watch import Place
    from redispool.web.board import Board
    from redispool.web.gate import Gate

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_MOST_BYTES = 16_384  # of what an action is told
_REASON = "by an operator, on the web page"
_ACTIONS: dict[str, Callable[[AccountPool, dict[str, str]], object]] = {
    "release": lambda pool, told: pool.release(told["account"], told["owner"]),  # if it is still that one's
    "quarantine": lambda pool, told: pool.quarantine(told["account"], told.get("reason") or _REASON),
    "restore": lambda pool, told: pool.restore(told["account"]),
}


def make_app(board: Board, place: Place, gate: Gate, explain: Callable[[Exception], str]) -> Starlette:
    """The web page as an ASGI application.

    Args:
        board: tells what is new.
        place: where the pools are, for actions.
        gate: who is let in.
        explain: says in a line what an error is about.
    """
    actions = _Actions(board, place, gate, explain)

    async def events(request: Request) -> Response:
        if not gate.is_ours(request.headers):
            return JSONResponse({"error": "this is for the page of this server only"}, 403)
        try:
            return StreamingResponse(board.messages(), media_type="text/event-stream")
        except Full:
            return JSONResponse({"error": "there are too many readers"}, 503)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(board.run())
        try:
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    files = [Route(path, _serving(*file), methods=["GET"]) for path, file in _files().items()]
    acting = [Route(f"/actions/{name}", actions.endpoint(name), methods=["POST"]) for name in _ACTIONS]
    guard = Middleware(Guard, gate=gate)
    return Starlette(routes=[*files, Route("/events", events), *acting], middleware=[guard], lifespan=lifespan)


class _Actions:
    """What an operator can do from the page."""

    def __init__(self, board: Board, place: Place, gate: Gate, explain: Callable[[Exception], str]) -> None:
        self._board = board
        self._place = place
        self._gate = gate
        self._explain = explain

    def endpoint(self, name: str) -> Callable[[Request], Any]:
        """What does the action of that name."""

        async def act(request: Request) -> Response:
            refused = self._gate.may_act(request.headers)
            if refused is not None:
                return JSONResponse({"error": refused}, 403)
            told = await _told(request)
            if told is None:
                return JSONResponse({"error": "that is no action"}, 400)
            status, error = await run_in_threadpool(self._do, name, told)
            self._board.look_soon()
            return JSONResponse({"error": error} if error else {}, status)

        return act

    def _do(self, name: str, told: dict[str, str]) -> tuple[int, str]:
        """Do it; the HTTP status, and what went wrong."""
        try:
            if told["pool"] not in self._place.names():
                return 404, f"there is no pool {told['pool']!r}"
            _ACTIONS[name](self._place.new_pool(told["pool"]), told)
        except RedispoolError as error:
            return 409, self._explain(error)
        except redis.RedisError as error:
            return 503, self._explain(error)
        return 200, ""


async def _told(request: Request) -> dict[str, str] | None:
    """What an action is told: strings by name; None where it is anything else."""
    if request.headers.get("content-type") != "application/json":
        return None
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            return None
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    needed = {"pool", "account", *(("owner",) if request.url.path.endswith("/release") else ())}
    if not isinstance(told, dict) or not needed <= told.keys():
        return None
    return told if all(isinstance(value, str) for value in told.values()) else None


def _files() -> dict[str, tuple[bytes, str]]:
    """The page's files, by path: read once, so that a path of a request never names a file."""
    files = {}
    for file in (resources.files("redispool.web") / "page").iterdir():
        kind = _TYPES.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            files["/" if file.name == "index.html" else f"/{file.name}"] = (file.read_bytes(), kind)
    return files


def _serving(content: bytes, kind: str) -> Callable[[Request], Any]:
    async def serve(_request: Request) -> Response:
        return Response(content, media_type=kind)

    return serve
