"""Accounts of a manager that is in another process, over a pipe; and of one that is in this."""

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
    LeaseLost,
    Logger,
    LoggerProxy,
    NotHeld,
    PoolEmpty,
    PrivateKey,
    ProtocolMismatch,
    RedispoolError,
    UnknownAccount,
)
from redispool.account import hash_of_name
from redispool.pipe import serve
from redispool.pipe_messages import MAX_FRAME, error_fields, error_from

from .conftest import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
METHODS = ["fork", "spawn"]


class Host:
    def __init__(self, name: str, account=None) -> None:
        self.name, self.account = name, account

    def get_name(self) -> str:
        return self.name

    def get_address(self) -> str:
        return f"{self.name}.example"

    def get_account(self):
        return self.account


@pytest.fixture
def manager(server, pool_name):
    """A manager whose default pool has the accounts a1 and a2; 'lab...' is served by a pool with l1."""
    manager = AccountManager(redis=server.url, namespace=pool_name)
    manager.add_account([Account("a1", "secret-1", "enable-1"), Account("a2", "secret-2", labels={"region": "eu"})])
    manager.pool("lab").add_account(Account("l1", "lab-secret"))
    manager.add_pool(manager.pool("lab"), "lab*")
    return manager


@contextmanager
def served(manager):
    """A child's end of a pipe; at the other end, a thread of ours serves it."""
    ours, childs = multiprocessing.Pipe()
    thread = threading.Thread(target=serve, args=(ours, manager))
    thread.start()
    try:
        yield childs
    finally:
        childs.close()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(params=["manager", "pipe"])
def parent(request, manager):
    if request.param == "manager":
        yield manager
    else:
        with served(manager) as connection:
            yield connection


# -- what a proxy does, whichever parent it has ----------------------------------------------------------------------


def test_a_proxy_has_the_next_account_in_turn_and_gives_it_back(parent, manager):
    first = AccountProxy.for_random_account(parent)
    second = AccountProxy.for_random_account(parent)
    assert (first.get_name(), first.get_password(), first.get_authorization_password()) == (
        "a1",
        "secret-1",
        "enable-1",
    )
    assert (second.get_name(), second.get_authorization_password(), second.labels) == (
        "a2",
        "secret-2",
        {"region": "eu"},
    )
    assert second.fence > first.fence > 0
    assert manager.default_pool.status().held == 2
    first.release()
    second.release()
    assert manager.default_pool.status().held == 0


@pytest.mark.parametrize("host", ["lab7", Host("lab7")])
def test_a_host_gets_an_account_of_the_pool_that_serves_it(parent, manager, host):
    with AccountProxy.for_host(parent, host).context() as proxy:
        assert proxy.get_name() == "l1"
        with proxy.context() as again:
            assert again.get_password() == "lab-secret"
        assert manager.pool("lab").status().held == 1
    assert manager.pool("lab").status().held == 0
    with AccountProxy.for_host(parent, "router7") as proxy:
        assert proxy.get_name() == "a1"


def test_a_callable_match_sees_the_hosts_name_and_address(parent, manager):
    seen = []
    manager.add_pool(manager.pool("lab"), lambda host: seen.append((host.get_name(), host.get_address())) or False)
    with AccountProxy.for_host(parent, Host("router7")):
        assert seen == [("router7", "router7.example")]


def test_a_hash_names_the_account(parent, manager):
    account = manager.default_pool.get_account_from_name("a2")
    for account_hash in (account.account_hash, hash(account)):
        proxy = AccountProxy.for_account_hash(parent, account_hash)
        assert proxy.get_name() == "a2"
        assert proxy.account_hash == account.account_hash
        assert hash(proxy) == hash(account)
        proxy.release()
    with pytest.raises(UnknownAccount):
        AccountProxy.for_account_hash(parent, hash_of_name("nobody"))


def test_an_own_account_of_a_host_comes_first(parent, manager):
    own = manager.default_pool.get_account_from_name("a2")
    with AccountProxy.for_host(parent, Host("lab7", own)) as proxy:
        assert proxy.get_name() == "a2"
        assert [lease.account for lease in manager.default_pool.status().leases] == ["a2"]
    unknown = Account("mine", "my-secret")
    with AccountProxy.for_host(parent, Host("lab7", unknown)) as proxy:
        assert (proxy.get_name(), proxy.get_password()) == ("mine", "my-secret")
        with pytest.raises(AcquireTimeout):
            AccountProxy.for_host(parent, Host("lab7", unknown), timeout=0.01)


def test_a_proxy_acquires_the_same_account_again(parent, manager):
    proxy = AccountProxy(parent)
    assert (proxy.get_name(), proxy.get_key(), repr(proxy)) == (None, None, "<AccountProxy None>")
    assert proxy.acquire() is True
    with pytest.raises(RedispoolError, match="holds account 'a1' already"):
        proxy.acquire()
    proxy.release()
    with pytest.raises(NotHeld):
        proxy.release()
    with proxy:
        assert proxy.get_name() == "a1"
        assert "secret" not in repr(proxy)


def test_an_account_that_needs_no_lock_is_had_without_one(parent, manager):
    manager.pool("lab").add_account(Account("l1", "open", needs_lock=False))
    proxy = AccountProxy.for_host(parent, "lab1")
    assert proxy.get_password() == "open"
    proxy.release()
    assert proxy.acquire() is False
    other = AccountProxy.for_host(parent, "lab1", timeout=0)
    assert other.get_name() == "l1"
    other.release()
    proxy.release()


def test_a_key_comes_along(parent, manager):
    manager.pool("lab").add_account(Account("l1", key=PrivateKey.restore("ecdsa", "/x/id", "ä pass", "the text")))
    with AccountProxy.for_host(parent, "lab1") as proxy:
        key = proxy.get_key()
        assert (key.get_type(), key.get_filename(), key.get_password(), key.get_text()) == (
            "ecdsa", "/x/id", "ä pass", "the text",
        )  # fmt: skip


def test_what_goes_wrong_is_raised_as_what_it_is(parent, manager):
    with AccountProxy.for_host(parent, "lab1"), pytest.raises(AcquireTimeout, match="did not come free"):
        AccountProxy.for_host(parent, "lab1", timeout=0.05)
    manager.pool("lab").reset()
    with pytest.raises(PoolEmpty, match="pool 'lab' is empty"):
        AccountProxy.for_host(parent, "lab1")
    with pytest.raises(ConfigError, match="a host is a string"):
        AccountProxy.for_host(parent, "")
    with pytest.raises(ConfigError, match="timeout"):
        AccountProxy.for_host(parent, "lab1", timeout="soon")
    with pytest.raises(ConfigError, match="an account's hash"):
        AccountProxy.for_account_hash(parent, None)


@pytest.mark.parametrize("over_pipe", [False, True])
def test_a_lease_that_ended_before_its_release_is_told_to_the_child(server, pool_name, over_pipe):
    manager = AccountManager(redis=server.url, namespace=pool_name, ttl=0.1, auto_renew=False)
    manager.add_account(Account("a1"))
    with served(manager) as connection:
        proxy = AccountProxy.for_random_account(connection if over_pipe else manager)
        wait_until(lambda: manager.default_pool.status().held == 0)
        with pytest.raises(LeaseLost):
            proxy.release()


def test_a_logger_proxy_writes_over_it(parent, manager, server, pool_name):
    proxy = LoggerProxy(parent, 17)
    proxy.add_log(1, "router1", 2)
    proxy.log(1, "ä\x00\udc80" * 100_000)
    proxy.log_aborted(1, ValueError("no route"))
    with pytest.raises(ConfigError, match="job '2' has no log"):
        proxy.log(2, "x")
    (log,) = Logger(17, redis=server.url, namespace=pool_name).get_logs()
    assert (log.name, log.attempt, log.reason, log.text) == ("router1", 2, "no route", "ä\x00\udc80" * 100_000)


@pytest.mark.parametrize("make", [AccountProxy, lambda parent: LoggerProxy(parent, "x")])
def test_another_parent_is_refused(make):
    with pytest.raises(ConfigError, match="parent must be an AccountManager"):
        make("redis://localhost")


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
        manager.pool("lab").add_account(Account("l1", "p" * MAX_FRAME))
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
