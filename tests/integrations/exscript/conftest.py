"""Queues of Exscript's, and what their tests look at."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - a job that is forked while a thread imports it hangs, too
import inspect
import io
import multiprocessing
import sys
import warnings
from contextlib import suppress

import pytest

import redispool
from redispool.integrations.exscript import install
from tests.servers import Server

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


class Silence:
    """A null device without a lock: a job that Exscript forks while another thread holds the file's would hang."""

    def write(self, text):
        pass

    def flush(self):
        pass


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
        queue.devnull = Silence()  # install() brings it as well
        queue._update_verbosity()
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


@pytest.fixture(scope="session")
def bare_server():
    """A server for those who use the default namespace, and find it as new each time."""
    running = Server("valkey")
    yield running
    running.remove()


@pytest.fixture
def stand_in(bare_server, monkeypatch):
    """Puts redispool's classes in the place of Exscript's, wherever Exscript has them."""
    import Exscript

    with warnings.catch_warnings(), suppress(ImportError):  # it needs a module that Python 3.12 has no more
        warnings.simplefilter("ignore")
        import Exscript.util.file

    with bare_server.client() as client:
        client.flushall()
    monkeypatch.setenv("REDISPOOL_URL", bare_server.url)
    for module in [module for name, module in sys.modules.items() if name.split(".")[0] == "Exscript"]:
        for name in ("Account", "AccountPool", "AccountManager"):
            theirs = getattr(module, name, None)
            if inspect.isclass(theirs) and theirs.__module__ == "Exscript.account":
                monkeypatch.setattr(module, name, getattr(redispool, name))
    return Exscript
