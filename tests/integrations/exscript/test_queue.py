"""A real Exscript.Queue logs in with redispool's accounts, in threads and in processes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess

import pytest

pytest.importorskip("Exscript")

import Exscript
from Exscript.account import AccountProxy
from Exscript.protocols.ssh2 import keymap
from Exscript.util.decorator import autologin

from redispool import Account, AccountPool, PrivateKey
from tests.conftest import wait_until

from .queue_program import judged_host, log_in
from .queues import dummy, held, run, start_program
from .telnet_judge import TelnetJudge

# Exscript leaves its files and sockets to the garbage collector, and forks beside its threads
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

# -- logging in ------------------------------------------------------------------------------------------------------


def test_the_seeds_own_example_takes_the_accounts_that_it_says(server, manager, queue):
    def use_this_pool(host):
        return host.get_name().startswith("foo")

    default_pool = AccountPool(redis=server.url)
    default_pool.add_account(Account("default-user", "password"))
    other_pool = AccountPool(redis=server.url)
    other_pool.add_account(Account("user", "password"))
    queue.account_manager.add_pool(default_pool)
    queue.account_manager.add_pool(other_pool, use_this_pool)

    with TelnetJudge({"default-user": "password"}) as localhost, TelnetJudge({"user": "password"}) as foobar:
        run(queue, [judged_host("localhost", localhost.port), judged_host("foobar", foobar.port)], log_in)

    assert queue.errors == {}
    assert localhost.logins == {"default-user": 1}
    assert foobar.logins == {"user": 1}
    assert default_pool.status().held == other_pool.status().held == 0


def test_many_jobs_share_few_accounts_and_no_account_logs_in_twice_at_a_time(manager, queue):
    queue.add_account([Account(name, f"password of {name}") for name in ("a", "b")])
    with TelnetJudge({name: f"password of {name}" for name in ("a", "b")}, seconds=0.01) as judge:
        run(queue, [judged_host(f"r{number}", judge.port) for number in range(12)], log_in)
    assert queue.errors == {}
    assert judge.refusals == judge.wrong == {}
    assert judge.logins.total() == 12
    assert set(judge.logins) == {"a", "b"}
    assert held(manager.default_pool) == []


def test_two_queues_in_two_programs_never_log_in_with_one_account_at_a_time(server, manager, namespace, mode):
    manager.add_account([Account("a", "1"), Account("b", "2"), Account("c", "3")])
    with TelnetJudge({"a": "1", "b": "2", "c": "3"}, seconds=0.01) as judge:
        programs = [start_program(server, namespace, mode, judge.port, "20") for _ in range(2)]
        assert [program.communicate(timeout=60)[0] for program in programs] == ["failed 0\n"] * 2
    assert judge.refusals == judge.wrong == {}
    assert judge.logins.total() == 40
    assert held(manager.default_pool) == []


def test_a_job_holds_the_account_while_it_logs_in_and_not_after(manager, queue):
    manager.add_account(Account("a", "secret"))
    counted = multiprocessing.SimpleQueue()

    @autologin()
    def job(job, host, conn):
        counted.put(len(held(manager.default_pool)))  # a child of a fork has connections of its own
        with conn.account_factory(None).context() as account:
            counted.put([lease.owner for lease in manager.default_pool.status().leases])
            counted.put((account.get_name(), account.get_password(), account.get_authorization_password()))

    run(queue, dummy("r1"), job)
    assert queue.errors == {}
    assert counted.get() == 0
    (owner,) = counted.get()
    assert f":{os.getpid()}:" in owner, "the queue's process holds it, and renews it"
    assert counted.get() == ("a", "secret", "secret")


def test_two_jobs_on_one_account_of_two_sessions_release_their_own_lease(manager, queue):
    manager.add_account(Account("a", max_sessions=2))
    letting_go = {name: multiprocessing.Event() for name in ("r1", "r2")}

    def job(job, host, conn):
        with conn.account_factory(None).context():
            letting_go[host.get_name()].wait(10)

    queue.run(dummy("r1"), job)
    first = wait_until(lambda: manager.default_pool.status().leases)
    queue.run(dummy("r2"), job)
    wait_until(lambda: held(manager.default_pool) == ["a", "a"])
    letting_go["r2"].set()
    wait_until(lambda: held(manager.default_pool) == ["a"])
    assert manager.default_pool.status().leases[0].token == first[0].token
    letting_go["r1"].set()
    queue.join()
    assert queue.errors == {}
    assert held(manager.default_pool) == []


def test_an_account_that_needs_no_lock_serves_many_jobs_at_once(manager, queue):
    queue.add_account(Account("shared", needs_lock=False))
    together = multiprocessing.Barrier(3)

    def job(job, host, conn):
        with conn.account_factory(None).context() as account:
            assert account.get_name() == "shared"
            together.wait(10)

    run(queue, [dummy(f"r{number}") for number in range(3)], job)
    assert queue.errors == {}


@pytest.mark.parametrize("password", ["", "of the key"])
def test_a_key_is_there_for_jobs_on_hosts_that_have_no_such_file(manager, queue, tmp_path, password):
    key_file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", password, "-f", key_file], check=True)
    queue.add_account(Account("a", key=PrivateKey.from_file(key_file, password)))
    public = key_file.with_suffix(".pub").read_text().split()[1]
    key_file.unlink()
    loaded = multiprocessing.SimpleQueue()

    def job(job, host, conn):
        with conn.account_factory(None).context() as account:
            key = account.get_key()
            for _ in range(2):  # as Exscript's protocol does
                found = keymap[key.get_type()].from_private_key_file(key.get_filename(), key.get_password())
                loaded.put(found.get_base64())

    run(queue, dummy("r1"), job)
    assert queue.errors == {}
    assert loaded.get() == loaded.get() == public


def test_a_random_account_can_be_asked_for(manager, queue):
    """In Exscript, the request for one is malformed, and the job waits for ever."""
    manager.add_account(Account("a"))
    names = multiprocessing.SimpleQueue()

    def job(job, host, conn):
        with AccountProxy.for_random_account(job.data["pipe"]).context() as account:
            names.put(account.get_name())

    run(queue, dummy("r1"), job)
    assert queue.errors == {}
    assert names.get() == "a"


# -- a host's own account --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Account, Exscript.Account])
def test_a_hosts_own_account_is_leased_if_a_pool_has_one_of_its_name(manager, queue, kind):
    manager.pool("lab").add_account(Account("own", "what the pool knows"))
    manager.add_account(Account("other"))
    seen = multiprocessing.SimpleQueue()

    def job(job, host, conn):
        with conn.account_factory(None).context() as account:
            seen.put((account.get_name(), account.get_password(), held(manager.pool("lab"))))

    run(queue, dummy("r1", kind("own", "what the host knows")), job)
    assert queue.errors == {}
    assert seen.get() == ("own", "what the pool knows", ["own"])
    assert held(manager.pool("lab")) == []


@pytest.mark.parametrize("kind", [Account, Exscript.Account])
def test_a_hosts_own_account_in_no_pool_is_locked_where_it_is(manager, queue, kind):
    manager.add_account(Account("other", "1"))
    with TelnetJudge({"own": "its own"}) as judge:
        host = judged_host("r1", judge.port)
        host.set_account(kind("own", "its own"))
        run(queue, host, log_in)
    assert queue.errors == {}
    assert judge.logins == {"own": 1}
