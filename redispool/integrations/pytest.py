"""Fixtures for the tests of programs that use redispool; pytest finds them by itself once redispool is installed.

- `redispool_server`: the URL of an empty embedded server (`redispool[embedded]`), also in REDISPOOL_URL
- `redispool_manager`: an `AccountManager` on it
- `fake_redispool`: the same without any server, on fakeredis (`redispool[fake]`), within one process
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from redispool.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis
    import redis.asyncio

    from redispool.manager import AccountManager


@pytest.fixture(scope="session")
def _redispool_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One server serves all tests; it ends with the process."""
    return f"embedded://{tmp_path_factory.mktemp('redispool')}"


@pytest.fixture
def redispool_server(_redispool_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a real server on this host, for this session of tests alone, and empty at the start of each test.

    REDISPOOL_URL is set to it as well, so that pools which name no server, also of programs that the test starts, are
    on it.
    """
    from redispool.connect import connect  # noqa: PLC0415 - it takes a while, which only those who use it wait for

    client: Any = connect(_redispool_url)
    client.flushall()
    monkeypatch.setenv("REDISPOOL_URL", _redispool_url)
    yield _redispool_url
    client.close()


@pytest.fixture
def redispool_manager(redispool_server: str) -> AccountManager:
    """An `AccountManager` on `redispool_server`, without accounts, pools or rules."""
    from redispool.manager import AccountManager  # noqa: PLC0415

    return AccountManager(redis=redispool_server)


@dataclass(frozen=True, slots=True)
class FakeRedispool:
    """A Redis that is a part of this process.

    Attributes:
        manager: an `AccountManager` on it, without accounts, pools or rules.
        client: a client of redis-py's kind, for `redis=`.
        async_client: one of redis.asyncio's kind, for the pools of `redispool.asyncio`.
    """

    manager: AccountManager
    client: redis.Redis
    async_client: redis.asyncio.Redis


@pytest.fixture
def fake_redispool(monkeypatch: pytest.MonkeyPatch) -> FakeRedispool:
    """A fake of Redis, empty, within this process; in the test, **every** URL and the default lead to it.

    So a program's `AccountPool(name="switches", redis="redis://production")` is on the fake, and the test reaches no
    server. The fake is one process: what several processes do to each other, killed workers and outages need
    `redispool_server`.
    """
    from redispool.manager import AccountManager  # noqa: PLC0415

    try:
        import fakeredis  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError("fake_redispool needs fakeredis: pip install 'redispool[fake]'") from None

    server = fakeredis.FakeServer()
    client = fakeredis.FakeRedis(server=server)
    async_client = fakeredis.FakeAsyncRedis(server=server)
    monkeypatch.setattr(import_module("redispool.connect"), "_open", lambda _address: client)
    monkeypatch.setattr(import_module("redispool.asyncio.connect"), "_open", lambda _address: async_client)
    return FakeRedispool(AccountManager(redis=client), client, async_client)
