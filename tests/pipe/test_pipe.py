"""The pipe between a manager and real children: killed, interrupted, garbled."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import select
import signal
import struct
import threading
from contextlib import contextmanager

import pytest
import redis

from redispool import (
    Account,
    AccountManager,
    AccountProxy,
    AcquireTimeout,
    ConfigError,
    Logger,
    LoggerProxy,
    PoolEmpty,
    ProtocolMismatch,
    RedispoolError,
)
from redispool.pipe import serve
from redispool.pipe_messages import MAX_FRAME, error_fields, error_from
from tests.conftest import wait_until

from .conftest import served

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
METHODS = ["fork", "spawn"]


# -- real children -----------------------------------------------------------------------------------------------------


@contextmanager
def child(manager, method, work, *arguments):
    """A child process that runs `work(connection, news, ...)`, and the thread that serves it."""
    context = multiprocessing.get_context(method)
    ours, childs = context.Pipe()
    news, its_news = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(childs, its_news, *arguments))
    process.start()
    childs.close()
    its_news.close()
    thread = threading.Thread(target=serve, args=(ours, manager))
    thread.start()
    try:
        yield process, news, thread
    finally:
        process.kill()
        process.join()
        thread.join(20)
        assert not thread.is_alive()


def hold_two_and_wait(connection, news):
    held = [AccountProxy.for_random_account(connection), AccountProxy.for_host(connection, "lab1")]
    news.send_bytes(",".join(proxy.get_name() for proxy in held).encode())
    threading.Event().wait()


@pytest.mark.parametrize("method", METHODS)
def test_what_a_killed_child_holds_goes_back_at_once(manager, method):
    with child(manager, method, hold_two_and_wait) as (process, news, thread):
        assert news.recv_bytes() == b"a1,l1"
        assert (manager.default_pool.status().held, manager.pool("lab").status().held) == (1, 1)
        os.kill(process.pid, signal.SIGKILL)
        thread.join(20)
        assert (manager.default_pool.status().held, manager.pool("lab").status().held) == (0, 0)


def wait_for_lab(connection, news):
    news.send_bytes(b"waiting")
    AccountProxy.for_host(connection, "lab1")
    news.send_bytes(b"got it")
    threading.Event().wait()


@pytest.mark.parametrize("method", METHODS)
def test_a_child_killed_while_it_waits_leaves_the_queue_and_takes_nothing(manager, method):
    lab = manager.pool("lab")
    account = lab.acquire_account()
    with child(manager, method, wait_for_lab) as (process, _, thread):
        wait_until(lambda: lab.status().waiting == 1)
        os.kill(process.pid, signal.SIGKILL)
        thread.join(20)
        assert not thread.is_alive()
        assert lab.status().waiting == 0
        account.release()
        assert (lab.status().free, lab.status().held) == (1, 0)


@pytest.mark.parametrize("method", METHODS)
def test_an_account_granted_to_a_child_that_was_just_killed_goes_back(manager, method):
    lab = manager.pool("lab")
    account = lab.acquire_account()
    with child(manager, method, wait_for_lab) as (process, _, thread):
        wait_until(lambda: lab.status().waiting == 1)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        account.release()
        lab.acquire_account(timeout=10).release()
        thread.join(20)
        assert (lab.status().free, lab.status().held, lab.status().waiting) == (1, 0, 0)


def take_turns(connection, news, rounds):
    def work():
        for _ in range(rounds):
            with AccountProxy.for_random_account(connection) as proxy:
                news_lock.acquire()
                news.send_bytes(f"+{proxy.get_name()}".encode())
                news.send_bytes(f"-{proxy.get_name()}".encode())
                news_lock.release()

    news_lock = threading.Lock()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    news.send_bytes(b"done")


@pytest.mark.parametrize("method", METHODS)
def test_the_threads_of_a_child_share_one_pipe(manager, method):
    with child(manager, method, take_turns, 20) as (process, news, _):
        seen = []
        while (said := news.recv_bytes()) != b"done":
            seen.append(said)
        assert len(seen) == 160
        assert {said.decode() for said in seen} == {"+a1", "-a1", "+a2", "-a2"}
        process.join()
    assert manager.default_pool.status().held == 0


def log_jobs(connection, news, worker):
    proxy = LoggerProxy(connection, "shared")
    for job in range(25):
        proxy.add_log(job, f"{worker}-{job}", 1)
        proxy.log(job, f"text of {worker}-{job}")
        proxy.log_succeeded(job)
    news.send_bytes(b"done")


def test_two_children_log_into_one_stream_over_their_pipes(manager, server, pool_name):
    with child(manager, "spawn", log_jobs, "a") as first, child(manager, "fork", log_jobs, "b") as second:
        for _, news, _ in (first, second):
            assert news.recv_bytes() == b"done"
    logs = Logger("shared", redis=server.url, namespace=pool_name).get_logs()
    assert {log.name: log.text for log in logs if log.ended} == {
        f"{worker}-{job}": f"text of {worker}-{job}" for worker in "ab" for job in range(25)
    }


def interrupted_while_it_waits(connection, news):
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        AccountProxy.for_host(connection, "lab1")
    except KeyboardInterrupt:
        with AccountProxy.for_random_account(connection) as proxy:  # the pipe is as good as before
            news.send_bytes(proxy.get_name().encode())
    threading.Event().wait()


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_in_a_waiting_child_calls_the_request_off(manager, method):
    lab = manager.pool("lab")
    account = lab.acquire_account()
    with child(manager, method, interrupted_while_it_waits) as (process, news, thread):
        assert news.recv_bytes() == b"a1"
        account.release()  # whether it is granted to the child or not, nobody wants it
        wait_until(lambda: (lab.status().free, lab.status().waiting) == (1, 0))
        assert process.is_alive()
        assert thread.is_alive()


def hold_lab(connection, news):
    with AccountProxy.for_host(connection, "lab1"):
        news.send_bytes(b"held")
        threading.Event().wait()


def test_the_serving_process_renews_what_its_child_holds(server, pool_name):
    manager = AccountManager(redis=server.url, namespace=pool_name, ttl=0.3)
    manager.pool("lab").add_account(Account("l1"))
    manager.add_pool("lab", "lab*")
    with child(manager, "spawn", hold_lab) as (_, news, _):
        assert news.recv_bytes() == b"held"
        first = manager.pool("lab").status().leases[0]
        wait_until(lambda: manager.pool("lab").status().leases[0].expires_at > first.expires_at + 0.5)
        assert manager.pool("lab").status().leases[0].token == first.token


# -- the pipe itself --------------------------------------------------------------------------------------------------


class Trap:
    """Unpickled, it would create a file."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


LOG = b'{"id": 1, "do": "log", "job": "j", "logger": "x", "entries": 9, "seconds": 9, "event": %s}'
GARBAGE = [
    b"",
    b"\x00\xff",
    b"null",
    b"[]",
    b"[" * 100_000,
    b"{}",
    b'{"id": true, "do": "acquire"}',
    b'{"id": 1}',
    b'{"id": 1, "do": "eval"}',
    b'{"id": 1, "do": ["acquire"]}',
    b'{"id": 1, "do": "acquire", "host": 5}',
    b'{"id": 1, "do": "acquire", "host": {"name": 5}}',
    b'{"id": 1, "do": "acquire", "hash": []}',
    b'{"id": 1, "do": "acquire", "timeout": "x"}',
    b'{"id": 1, "do": "acquire", "timeout": NaN}',
    b'{"id": 1, "do": "release"}',
    b'{"id": 1, "do": "release", "grant": 99}',
    b'{"id": 1, "do": "log"}',
    b'{"id": 1, "do": "log", "job": "j", "logger": "{x}"}',
    LOG % b'"started", "attempt": "1"',
    LOG % b'"started", "name": "n", "attempt": "1"',
    LOG % b'"exploded"',
]


def test_whatever_is_no_request_is_refused_and_the_pipe_goes_on(manager, tmp_path):
    with served(manager) as connection:
        for garbage in [*GARBAGE, pickle.dumps(Trap(tmp_path / "made"))]:
            connection.send_bytes(garbage)
            assert connection.poll(10)
            reply = json.loads(connection.recv_bytes())
            assert reply["error"] == "ConfigError", garbage
            assert reply["id"] == (1 if b'"id": 1' in garbage else None)
        connection.send(Trap(tmp_path / "made"))
        assert b"ConfigError" in connection.recv_bytes()
        assert not (tmp_path / "made").exists()
        with AccountProxy.for_random_account(connection) as proxy:
            assert proxy.get_name() == "a1"


def test_an_id_in_use_is_refused(manager):
    with served(manager) as connection:
        request = json.dumps({"id": 5, "do": "acquire"}).encode()
        connection.send_bytes(request)
        assert json.loads(connection.recv_bytes())["result"]["name"] == "a1"
        connection.send_bytes(request)
        assert "in use" in json.loads(connection.recv_bytes())["text"]
        connection.send_bytes(b'{"id": 6, "do": "release", "grant": 5}')
        assert json.loads(connection.recv_bytes()) == {"id": 6, "result": None}


def test_a_frame_too_large_closes_the_pipe_and_gives_all_back(manager):
    with served(manager) as connection:
        proxy = AccountProxy.for_random_account(connection)
        os.write(connection.fileno(), struct.pack("!i", MAX_FRAME + 1) + b"x" * 100)
        assert "at most" in json.loads(connection.recv_bytes())["text"]
        wait_until(lambda: manager.default_pool.status().held == 0)
        with pytest.raises(RedispoolError, match="the pipe is closed"):
            proxy.release()


def test_a_message_too_large_is_refused_before_it_is_sent(manager):
    with served(manager) as connection:
        with pytest.raises(ConfigError, match="too large for the pipe"):
            AccountProxy.for_host(connection, "x" * MAX_FRAME)
        # within what a record may have, and not within what its text in ASCII may
        manager.pool("lab").add_account(Account("l1", "\N{EURO SIGN}" * (MAX_FRAME // 4)))
        with pytest.raises(ConfigError, match="too large for the pipe"):
            AccountProxy.for_host(connection, "lab1")
        wait_until(lambda: manager.pool("lab").status().held == 0)


def test_a_child_that_reads_no_replies_does_not_keep_the_server(manager):
    with served(manager) as connection:
        connection.send_bytes(b'{"id": 0, "do": "acquire"}')
        wait_until(lambda: manager.default_pool.status().held == 1)
        for number in range(1, 100_000):
            if not select.select([], [connection.fileno()], [], 1.0)[1]:
                break  # the server waits for us to read, and we for it
            connection.send_bytes(json.dumps({"id": number, "do": "release", "grant": -1}).encode())
        else:
            pytest.fail("the server takes any number of requests whose replies nobody reads")
    assert manager.default_pool.status().held == 0


def test_when_the_server_is_gone_the_child_is_told(manager):
    with served(manager) as connection:
        proxy = AccountProxy.for_random_account(connection)
    for call in (proxy.release, lambda: AccountProxy.for_random_account(connection)):
        with pytest.raises(RedispoolError, match="the pipe is closed"):
            call()


def test_a_connection_that_is_dropped_is_closed(manager):
    ours, childs = multiprocessing.Pipe()
    thread = threading.Thread(target=serve, args=(ours, manager))
    thread.start()
    proxy = AccountProxy.for_random_account(childs)
    assert proxy.get_name() == "a1"
    del proxy, childs
    thread.join(10)
    assert not thread.is_alive()
    assert manager.default_pool.status().held == 0


def test_errors_cross_the_pipe_by_name_and_foreign_ones_without_their_text():
    for error in (PoolEmpty("x"), AcquireTimeout("x"), ProtocolMismatch("x"), redis.ConnectionError("x")):
        again = error_from(error_fields(error))
        assert (type(again), str(again)) == (type(error), "x")
    assert isinstance(error_from(error_fields(AcquireTimeout("x"))), TimeoutError)
    foreign = error_from(error_fields(KeyError("s3cr3t")))
    assert type(foreign) is RedispoolError
    assert str(foreign) == "KeyError in the process that serves the pipe"
    assert "s3cr3t" not in str(error_from(error_fields(redis.ResponseError("args: s3cr3t"))))
    assert type(error_from({"error": "SystemExit", "text": "x"})) is RedispoolError
