"""The behaviour of a pool, told in blocking style through `make_pool` alone, so that it holds for every face."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

import pytest

from redispool import AccountPool
from tests import faces, invariants
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis


@pytest.fixture(params=[AccountPool, faces.Pool], ids=["blocking", "asyncio"])
def pool_type(request: pytest.FixtureRequest) -> type:
    """The class of the test's pools: each face in its turn."""
    return request.param


@pytest.fixture
def make_pool(make_pool: Callable[..., Any], client: redis.Redis) -> Iterator[Callable[..., Any]]:
    """Opens the test's pool; when the test is over, every seat must be in exactly one place."""
    opened: list[Any] = []
    namespaces: set[str] = set()

    def open_pool(*arguments: Any, **options: Any) -> Any:
        opened.append(make_pool(*arguments, **options))
        namespaces.add(options.get("namespace", "redispool"))
        return opened[-1]

    yield open_pool
    for name in {pool.name for pool in opened}:
        for namespace in namespaces:
            check_at_rest(client, namespace, name)


def check_at_rest(client: redis.Redis, namespace: str, name: str) -> None:
    """Check the invariants when the pool has come to rest: what was given up in the background may be on its way."""
    end = time.monotonic() + 3
    while True:
        try:
            invariants.check(client, namespace, name)
        except AssertionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


@pytest.fixture
def start() -> Iterator[Callable[..., Future[Any]]]:
    """Calls a function in a thread of its own; a future of its result."""
    futures: list[Future[Any]] = []

    def start_thread(function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(function(*arguments, **options))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        futures.append(future)
        return future

    yield start_thread
    assert not wait(futures, timeout=10).not_done, "a thread is still waiting"


@pytest.fixture
def queue_up(start: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    """Lets a thread acquire, and goes on when it stands in the queue; a future of its handle."""

    def stand_in_line(pool: Any, *arguments: Any, **options: Any) -> Future[Any]:
        before = pool.status().waiting
        future = start(pool.acquire_account, *arguments, **options)
        wait_until(lambda: pool.status().waiting == before + 1 or future.done())
        assert not future.done(), f"it did not wait: {future}"
        return future

    return stand_in_line
