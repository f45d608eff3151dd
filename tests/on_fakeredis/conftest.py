"""The behaviour of pools, as `tests/behaviour` tells it, on fakeredis in place of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fakeredis
import pytest

from tests import faces
from tests.behaviour.conftest import make_pool, pool_type, queue_up, start  # noqa: F401 - fixtures

if TYPE_CHECKING:
    import redis


class FakeServer:
    """What the tests ask of a server; where a URL is wanted, the client that stands for it will do."""

    def __init__(self) -> None:
        self.inside = fakeredis.FakeServer()
        self.url = self.client()

    def client(self, **options: Any) -> redis.Redis:
        return fakeredis.FakeRedis(server=self.inside, **options)


@pytest.fixture(scope="session")
def server() -> FakeServer:
    """A fake that the tests of a session share; each uses a pool name of its own."""
    return FakeServer()


@pytest.fixture(autouse=True)
def fake_async_client(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of asyncio need a client of their kind."""
    monkeypatch.setattr(faces, "_async_client", lambda _given: fakeredis.FakeAsyncRedis(server=server.inside))
