"""Queues of Exscript's, and what their tests look at."""

from __future__ import annotations

import io
import multiprocessing

import pytest

from redispool.integrations.exscript import install

MODES = [
    "threading",
    pytest.param(
        "multiprocessing",
        marks=pytest.mark.skipif(
            multiprocessing.get_start_method() != "fork", reason="Exscript's jobs cannot be pickled: it needs fork"
        ),
    ),
]


@pytest.fixture
def terminal(monkeypatch):
    from .queue_program import be_a_terminal

    be_a_terminal(monkeypatch.setattr)


@pytest.fixture
def open_queue(terminal):
    """Opens queues that say nothing; their errors are in `errors`, by the name of the job."""
    from Exscript import Queue

    opened = []

    def open_one(manager=None, **options):
        errors = {}
        queue = Queue(
            verbose=-1, stderr=io.StringIO(), exc_cb=lambda name, info: errors.setdefault(name, []).append(info[1]),
            **{"max_threads": 4, **options},
        )  # fmt: skip
        queue.errors = errors
        opened.append(queue)
        if manager is not None:
            install(queue, manager)
        return queue

    yield open_one
    for queue in opened:
        if queue.workqueue.main_loop is not None:
            queue.destroy(force=True)


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def queue(open_queue, manager, mode):
    return open_queue(manager, mode=mode)
