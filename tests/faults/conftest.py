"""Pools, their watchers and their workers, for tests in which things break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.behaviour.conftest import check_at_rest, queue_up, start
from tests.faults.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["check_at_rest", "queue_up", "start"]


@pytest.fixture
def worker(pool_name: str) -> Iterator[Callable[..., Worker]]:
    """Starts processes that each do what the test tells them: `worker(url).send('acquire')`."""
    started: list[Worker] = []

    def start_worker(url: str, **options: Any) -> Worker:
        started.append(Worker(url, {"name": pool_name, **options}))
        return started[-1]

    yield start_worker
    for one in started:
        one.stop()
