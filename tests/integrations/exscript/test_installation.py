"""What a queue gets by install(), what it takes, and what stays the manager's."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

import pytest

pytest.importorskip("Exscript")

import Exscript
from Exscript.account import AccountProxy
from Exscript.util.decorator import autologin

from redispool import Account, AccountManager, ConfigError, NotHeld
from redispool.integrations.exscript import account_from, install
from tests.conftest import wait_until

from .queues import dummy, held, run

# Exscript leaves its files and sockets to the garbage collector, and forks beside its threads
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

# -- who owns what ---------------------------------------------------------------------------------------------------


def test_a_queue_that_ends_leaves_pools_and_rules_to_the_others(make_manager, open_queue, mode):
    here, elsewhere = make_manager(), make_manager()
    here.add_account(Account("a"))
    here.add_pool("lab", "lab-*")
    here.pool("lab").add_account(Account("b"))
    queue = open_queue(here, mode=mode)
    run(queue, [dummy("r1"), dummy("lab-1")], autologin()(lambda job, host, conn: None))
    queue.reset()
    run(queue, dummy("lab-1"), autologin()(lambda job, host, conn: None))
    queue.destroy()
    assert queue.errors == {}
    assert [elsewhere.acquire_account_for(host, timeout=0).name for host in ("r1", "lab-1")] == ["a", "b"]


def test_a_job_that_runs_on_after_its_queue_was_destroyed_keeps_its_account(manager, queue):
    manager.add_account(Account("a"))
    go_on = multiprocessing.Event()

    def job(job, host, conn):
        with conn.account_factory(None).context():
            go_on.wait(10)

    queue.run(dummy("r1"), job)
    wait_until(lambda: held(manager.default_pool))
    queue.destroy(force=True)
    assert held(manager.default_pool) == ["a"]
    go_on.set()
    wait_until(lambda: not held(manager.default_pool))


def test_a_job_that_began_before_the_installation_is_served(manager, open_queue, mode):
    queue = open_queue(mode=mode)
    manager.add_account(Account("a"))
    begun, installed = multiprocessing.Event(), multiprocessing.Event()
    names = multiprocessing.SimpleQueue()

    def job(job, host, conn):
        begun.set()
        installed.wait(10)
        with pytest.raises(NotHeld):
            AccountProxy(job.data["pipe"]).release()
        with conn.account_factory(None).context() as account:
            names.put(account.get_name())

    queue.run(dummy("r1"), job)
    assert begun.wait(10)
    install(queue, manager)
    installed.set()
    queue.join()
    assert queue.errors == {}
    assert names.get() == "a"
    assert held(manager.default_pool) == []


def test_another_manager_can_take_over(make_manager, open_queue, server):
    first, second = make_manager(), AccountManager(redis=server.url, namespace="another")
    first.add_account(Account("a"))
    second.add_account(Account("b"))
    queue = open_queue(first)
    names = []

    def job(job, host, conn):
        with conn.account_factory(None).context() as account:
            names.append(account.get_name())

    run(queue, dummy("r1"), job)
    install(queue, second)
    install(queue, second)
    run(queue, dummy("r1"), job)
    assert names == ["a", "b"]


def test_a_queue_that_has_accounts_of_its_own_is_left_as_it_is(manager, open_queue):
    queue = open_queue()
    queue.add_account(Exscript.Account("a"))
    before = queue.account_manager
    with pytest.raises(ConfigError, match="has accounts of its own already"):
        install(queue, manager)
    assert queue.account_manager is before


def test_what_is_no_queue_or_no_manager_is_refused(manager, open_queue):
    with pytest.raises(ConfigError, match=r"an Exscript.Queue is needed, not object"):
        install(object(), manager)
    with pytest.raises(ConfigError, match="an AccountManager of redispool is needed, not AccountManager"):
        install(open_queue(), Exscript.account.AccountManager())


def test_without_exscript_it_says_how_to_get_it(manager, monkeypatch):
    monkeypatch.setitem(sys.modules, "Exscript.queue", None)
    monkeypatch.delitem(sys.modules, "redispool.integrations.exscript_handler", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'redispool\[exscript\]'"):
        install(object(), manager)


# -- what is no account of redispool ---------------------------------------------------------------------------------


def test_accounts_of_exscripts_class_can_be_given_to_the_queue(manager, queue):
    queue.add_account(Exscript.Account("a", "pass", "enable"))
    queue.add_account([Exscript.Account("b"), Account("c")])
    assert [account.get_name() for account in manager.default_pool.accounts] == ["a", "b", "c"]
    account = manager.default_pool.get_account_from_name("a")
    assert (account.get_password(), account.get_authorization_password()) == ("pass", "enable")


def test_an_account_of_exscripts_class_brings_its_key_and_its_lock(tmp_path):
    key_file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", key_file], check=True)
    account = account_from(Exscript.Account("a", key=Exscript.PrivateKey.from_file(str(key_file)), needs_lock=False))
    assert account.get_key().get_text() == key_file.read_text()
    assert not account.needs_lock
    assert account_from(Exscript.Host("ssh://a@r1").get_account()).get_password() == ""


def test_what_cannot_be_shared_is_refused(open_queue, manager):
    queue = open_queue(manager)
    with pytest.raises(ConfigError, match="which other hosts cannot share"):
        queue.add_account_pool(Exscript.AccountPool())
    for bad in (object(), ["a"]):
        with pytest.raises((ConfigError, TypeError)):
            queue.add_account(bad)
