from __future__ import annotations

import itertools
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from redispool import Account, AccountManager, AccountPool

from .servers import BINARIES, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

_numbers = itertools.count(1)


def shown(value: object) -> str:
    """A value in the name of a test, the same in every process: without addresses, or keys made by lot."""
    return re.sub(r"[\w-]{43}=", "KEY", re.sub(r" at 0x\w+", "", repr(value)))


def _kinds() -> list[Any]:
    missing = pytest.mark.skip(reason="redis-server is not installed (apt-get install redis-server)")
    return [pytest.param(kind, marks=[] if binary else [missing]) for kind, binary in BINARIES.items()]


@pytest.fixture(scope="session", params=_kinds())
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that the tests of a session share; each uses a pool name of its own."""
    running = Server(request.param)
    yield running
    running.remove()


@pytest.fixture
def own_server() -> Iterator[Callable[..., Server]]:
    """Starts servers that the test may kill, restart and configure: `own_server('valkey', appendonly='yes')`."""
    started: list[Server] = []

    def start(kind: str = "valkey", **options: str) -> Server:
        started.append(Server(kind, **options))
        return started[-1]

    yield start
    for one in started:
        one.remove()


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    """A plain client, to look behind the scenes."""
    with server.client() as plain:
        yield plain


@pytest.fixture
def pool_name() -> str:
    """A name that no other test uses."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def pool_type() -> type:
    """The class of the test's pools."""
    return AccountPool


@pytest.fixture
def make_pool(server: Server, pool_name: str, pool_type: type) -> Callable[..., AccountPool]:
    """Opens the test's pool, with so many accounts 'a1', 'a2', ... or with the accounts given."""

    def open_pool(accounts: int | list[Account] = 0, **options: Any) -> AccountPool:
        if isinstance(accounts, int):
            accounts = [Account(f"a{number}", f"secret-{number}") for number in range(1, accounts + 1)]
        return pool_type(accounts, **{"name": pool_name, "redis": server.url, **options})

    return open_pool


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses: a manager's rules and pools are a namespace's."""
    return f"managed-{next(_numbers)}"


@pytest.fixture
def manager_type() -> type:
    """The class of the test's managers."""
    return AccountManager


@pytest.fixture
def make_manager(server: Server, namespace: str, manager_type: type) -> Callable[..., AccountManager]:
    """Opens managers as many hosts would: each has its own connections and its own view."""

    def make(**options: Any) -> AccountManager:
        return manager_type(**{"redis": server.url, "namespace": namespace, **options})

    return make


@pytest.fixture
def manager(make_manager: Callable[..., AccountManager]) -> AccountManager:
    """The manager of one host."""
    return make_manager()


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What the condition returns, once that is true."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"not true within {seconds} s: {condition}"
        time.sleep(0.002)
    return result
