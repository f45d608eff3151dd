"""Celery tasks with accounts: a real worker, a real broker."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import threading

import psutil
import pytest
from celery import signals
from cryptography.fernet import Fernet

from redispool import Account, AccountManager, AcquireTimeout
from redispool.integrations.celery import AccountTask, manager_of
from tests.conftest import wait_until

from .workers import CeleryWorker

APP = "tests.integrations.celery_app"


@pytest.fixture(scope="module")
def settings(server):
    return {"REDISPOOL_URL": server.url, "NAMESPACE": "celery-tests"}


@pytest.fixture(scope="module")
def tasks(settings):
    """The tasks, to send them from here."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        module = importlib.import_module(APP)
        yield module
        gc.collect()  # results that nobody asked for any more
        module.app.close()


@pytest.fixture(scope="module")
def worker(settings, tasks):
    running = CeleryWorker(APP, settings)
    wait_until(running.is_ready, 30)
    yield running
    running.remove()


@pytest.fixture(scope="module")
def shared_manager(server):
    return AccountManager(redis=server.url, namespace="celery-tests", ttl=60)


@pytest.fixture
def pool(shared_manager, tasks):
    """Three accounts, all free; what the tasks noted before is forgotten."""
    pool = shared_manager.pool("switches")
    pool.reset()
    pool.add_account([Account(f"a{number}", f"secret-{number}") for number in range(1, 4)])
    for name in ("notes", "order", "deliveries", "pid"):
        tasks.book.delete(f"celery-tests:{name}")
    return pool


def notes(tasks):
    return [note.split() for note in tasks.book.lrange("celery-tests:notes", 0, -1)]


def is_free(pool):
    return pool.status().free == 3


def hand_outs(pool):
    return sum(event.event == "granted" for event in pool.history(limit=1000))


def wait_free(pool, seconds=5.0):
    """All three accounts are free well before any lease could end by itself."""
    wait_until(lambda: is_free(pool), seconds)


@pytest.mark.parametrize("name", ["work", "work_unbound", "plain", "plain_unbound"])
def test_every_run_has_an_account_and_none_is_in_use_twice(tasks, worker, pool, name):
    task = getattr(tasks, name)
    results = [task.delay(0.02) for _ in range(12)]
    assert {result.get(timeout=20) for result in results} == {"a1", "a2", "a3"}
    assert [event for event, *_ in notes(tasks)] == ["use"] * 12
    wait_free(pool)


def test_the_owner_tells_the_task(tasks, worker, pool):
    result = tasks.long.delay()
    (lease,) = wait_until(lambda: pool.status().leases, 10)
    assert lease.owner.startswith(f"{APP}.long[{result.id}]@w")
    tasks.app.control.revoke(result.id, terminate=True)
    wait_free(pool)


def test_a_failed_task_has_released_its_account(tasks, worker, pool):
    with pytest.raises(ValueError, match="as it was told"):
        tasks.fail.delay().get(timeout=10)
    wait_free(pool)


def test_each_retry_of_celerys_has_a_new_account(tasks, worker, pool):
    assert tasks.fail_twice.delay().get(timeout=10) == 2
    assert [(event, name) for event, name, _ in notes(tasks)] == [("try", "a1"), ("try", "a2"), ("try", "a3")]
    wait_free(pool)


def test_a_soft_time_limit_releases_the_account(tasks, worker, pool):
    result = tasks.softly_limited.delay()
    with pytest.raises(Exception, match="SoftTimeLimitExceeded"):
        result.get(timeout=20)
    wait_free(pool)


def test_a_hard_time_limit_releases_the_account(tasks, worker, pool):
    result = tasks.limited.delay()
    with pytest.raises(Exception, match="TimeLimitExceeded"):
        result.get(timeout=20)
    wait_free(pool)


def test_a_revoked_task_releases_the_account_it_uses(tasks, worker, pool):
    result = tasks.long.delay()
    wait_until(lambda: notes(tasks), 10)
    result.revoke(terminate=True)
    wait_free(pool)


def test_a_revoked_task_that_waits_for_an_account_leaves_the_queue(tasks, worker, pool):
    held = pool.acquire_accounts(3)
    result = tasks.long.delay()
    wait_until(lambda: pool.status().waiting, 10)
    result.revoke(terminate=True)
    wait_until(lambda: not pool.status().waiting, 10)
    for account in held:
        account.release()
    wait_free(pool)


def test_a_killed_workers_account_comes_back_by_its_ttl_and_its_task_gets_a_new_one(tasks, worker, pool):
    result = tasks.redelivered.delay()
    pid = int(wait_until(lambda: tasks.book.get("celery-tests:pid"), 10))
    os.kill(pid, signal.SIGKILL)
    assert result.get(timeout=20) == "a2"
    (_, first, fence), (_, second, other_fence) = notes(tasks)
    assert (first, second) == ("a1", "a2")
    assert fence != other_fence
    (lease,) = pool.status().leases
    assert lease.account == "a1"
    assert lease.expires_at - lease.acquired_at <= 61


def test_a_task_is_routed_by_its_host_however_that_was_sent(tasks, worker, pool, shared_manager):
    lab = shared_manager.pool("lab")
    lab.add_account(Account("of-the-lab", "secret-lab"))
    shared_manager.add_pool("lab", "lab-*")
    shared_manager.add_pool("switches", "sw*")
    assert tasks.visit.delay("lab-7").get(timeout=10) == "hello lab-7 from of-the-lab"
    assert tasks.visit.delay(greeting="good day", host="lab-8").get(timeout=10) == "good day lab-8 from of-the-lab"
    assert tasks.visit.delay("sw1").get(timeout=10).startswith("hello sw1 from a")


def test_a_task_is_routed_by_what_can_only_be_sent_by_name(tasks, worker, pool, shared_manager):
    lab = shared_manager.pool("lab")
    lab.add_account(Account("of-the-lab", "secret-lab"))
    shared_manager.add_pool("lab", "lab-*")
    assert tasks.visit_by_name.delay(host="lab-7").get(timeout=10) == "of-the-lab"


def test_a_subclass_of_a_task_has_the_account_that_it_asks_for_and_no_other(tasks, worker, pool, shared_manager):
    lab = shared_manager.pool("lab")
    lab.reset()
    lab.add_account(Account("of-the-lab", "secret-lab"))
    before = hand_outs(pool)
    assert tasks.app.tasks[f"{APP}.inventory"].delay().get(timeout=10) == "a1"
    assert tasks.app.tasks[f"{APP}.lab_inventory"].delay().get(timeout=10) == "of-the-lab"
    assert hand_outs(pool) == before + 1


def test_a_run_that_calls_its_bases_run_has_one_account_for_both(tasks, worker, pool):
    before = hand_outs(pool)
    assert tasks.app.tasks[f"{APP}.long_inventory"].delay().get(timeout=10) == ["a1"] * 3
    assert hand_outs(pool) == before + 1


def test_a_task_that_is_called_by_another_one_has_an_account_of_its_own(tasks, worker, pool):
    assert tasks.with_another.delay().get(timeout=10) == ["a1", "a2", "a3", "a1"]
    wait_free(pool)


def test_an_account_is_chosen_by_its_labels(tasks, worker, pool):
    pool.add_account(Account("a2", "secret-2", labels={"site": "north"}))
    answers = [tasks.northern.delay().get(timeout=10) for _ in range(2)]
    assert [(name, right) for name, _, right in answers] == [("a2", True)] * 2
    assert answers[0][1] < answers[1][1]


def test_a_task_that_finds_none_free_goes_back_to_the_broker_and_blocks_no_slot(tasks, worker, pool):
    held = pool.acquire_accounts(3)
    results = [tasks.patient.delay(str(number)) for number in range(8)]  # there are four slots
    wait_until(lambda: pool.status().waiting == 8, 10)
    assert tasks.about_the_process.delay().get(timeout=5)
    wait_until(lambda: all(result.state == "RETRY" for result in results), 10)
    for account in held:
        account.release()
    assert {result.get(timeout=20) for result in results} == {"a1", "a2", "a3"}
    wait_free(pool)


def test_a_task_that_went_back_to_the_broker_keeps_its_place_in_the_queue(tasks, worker, pool):
    pool.remove_account(["a2", "a3"])
    held = pool.acquire_account()
    results = []
    for number in range(6):
        results.append(tasks.patient.delay(str(number)))
        wait_until(lambda: pool.status().waiting == len(results), 10)
    late = tasks.work.delay()  # it waits in its slot
    wait_until(lambda: pool.status().waiting == 7, 10)
    held.release()
    late.get(timeout=30)
    assert [result.state for result in results] == ["SUCCESS"] * 6
    assert tasks.book.lrange("celery-tests:order", 0, -1) == ["0", "1", "2", "3", "4", "5"]


def test_a_task_that_may_wait_so_long_and_no_longer_fails_then(tasks, worker, pool):
    held = pool.acquire_accounts(3)
    result = tasks.impatient.delay()
    with pytest.raises(AcquireTimeout, match="had no account for it within 1 seconds"):
        result.get(timeout=20)
    assert not pool.status().waiting
    for account in held:
        account.release()


def test_celery_can_retry_a_task_that_waited_in_vain(tasks, worker, pool):
    held = pool.acquire_accounts(3)
    result = tasks.retried_by_celery.delay()
    with pytest.raises(AcquireTimeout, match=r"within 0\.1 seconds"):
        result.get(timeout=20)
    assert worker.text().count(f"{result.id}] retry: Retry in 0s: AcquireTimeout") == 1
    for account in held:
        account.release()


def test_no_message_result_or_log_holds_a_secret(tasks, worker, pool, client):
    held = pool.acquire_accounts(3)
    with client.monitor() as monitor:
        sent = tasks.patient.delay("ticket")
        wait_until(lambda: sent.state == "RETRY", 10)
        for account in held:
            account.release()
        sent.get(timeout=10)
        with pytest.raises(Exception, match="as it was told"):
            tasks.fail.delay(carry=True).get(timeout=10)
        with pytest.raises(Exception, match="not JSON serializable"):
            tasks.give_away.delay().get(timeout=10)
        with pytest.raises(Exception, match="must not travel"):
            tasks.send_on.delay().get(timeout=10)
        client.echo("that is all")
        said = []
        while "that is all" not in (command := monitor.next_command()["command"]):
            said.append(command)
    assert [command for command in said if "PUSH celery-tests" in command and "ticket" in command]
    for text in [*(command for command in said if "{switches}" not in command), worker.text()]:  # but the pool's own
        assert "secret-" not in text


def test_the_connections_close_when_a_worker_ends(server, tasks, client, pool):
    def connections():
        return [one for one in client.client_list() if one["name"] == "of-a-worker"]

    app = tasks.make_app(server.url, "celery-tests")
    app.conf.redispool_url = f"{server.url}?client_name=of-a-worker"
    assert manager_of(app).pool("switches").status().free == 3
    assert connections()
    signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
    wait_until(lambda: not connections())
    assert manager_of(app).pool("switches").status().free == 3
    signals.worker_shutdown.send(sender=None)
    wait_until(lambda: not connections())


def test_the_processes_that_need_connections_open_them_after_the_fork(server, tasks, client):
    def ports():
        return {int(one["addr"].rpartition(":")[2]) for one in client.client_list() if one["name"] == "of-redispool"}

    def ports_of(pid):
        return {one.laddr.port for one in psutil.Process(pid).net_connections("tcp")}

    url = f"{server.url}?client_name=of-redispool"
    AccountManager(redis=server.url, namespace="celery-fork").pool("switches").add_account(Account("a1"))
    worker = CeleryWorker(APP, {"REDISPOOL_URL": url, "NAMESPACE": "celery-fork"}, concurrency=2)
    sender = tasks.make_app(server.url, "celery-fork")
    try:
        wait_until(worker.is_ready, 30)
        assert sender.send_task(f"{APP}.about_the_process").get(timeout=10)
        assert not ports()
        results = [sender.send_task(f"{APP}.work", [0.01]) for _ in range(8)]
        assert {result.get(timeout=20) for result in results} == {"a1"}
        assert ports()
        assert not ports() & ports_of(worker.process.pid)
        assert ports() <= set().union(*map(ports_of, worker.children()))
    finally:
        worker.remove()


def test_a_worker_whose_processes_have_the_key_uses_a_sealed_pool_and_another_one_learns_why_not(server, tasks, client):
    key, other_key = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    namespace = "celery-sealed"
    pool = AccountManager(redis=server.url, namespace=namespace, cipher=key).pool("switches")
    pool.add_account([Account("a1", "secret-1", labels={"site": "north"})])
    assert b"secret-1" not in b"".join(client.hvals(f"{namespace}:{{switches}}:accounts"))
    sender = tasks.make_app(server.url, namespace)
    settings = {"REDISPOOL_URL": server.url, "NAMESPACE": namespace}
    for its_key in (key, other_key):
        worker = CeleryWorker(APP, {**settings, "REDISPOOL_KEY": its_key}, concurrency=1)
        try:
            wait_until(worker.is_ready, 30)
            result = sender.send_task(f"{APP}.northern")
            if its_key == key:
                name, _, right = result.get(timeout=10)
                assert (name, right) == ("a1", True)
            else:
                with pytest.raises(Exception, match="check cipher= or REDISPOOL_KEY"):
                    result.get(timeout=10)
            wait_until(lambda: pool.status().free == 1)
        finally:
            worker.remove()


def test_settings_may_all_be_among_the_options(server, tasks):
    app = tasks.make_app(server.url, "celery-options")
    app.conf.update(
        redispool_url=None,
        redispool_namespace=None,
        redispool_options={"redis": server.url, "namespace": "celery-options"},
    )
    pool = manager_of(app).pool("switches")
    assert pool.namespace == "celery-options"
    assert pool.status().accounts == 0


def test_in_eager_mode_a_task_has_an_account_too_and_waits_for_it_in_place(server, tasks):
    app = tasks.make_app(server.url, "celery-eager")
    app.conf.task_always_eager = True
    pool = manager_of(app).pool("switches")
    pool.add_account(Account("a1", "secret-1"))

    @app.task(base=AccountTask, bind=True, account_pool="switches", account_wait="retry")
    def whose(self):
        return self.account.name

    held = pool.acquire_account()
    threading.Timer(0.2, held.release).start()
    assert [whose.delay().get(), whose(), whose.run()] == ["a1"] * 3
    assert pool.status().free == 1
    app.close()


@pytest.mark.parametrize("kind", ["threads", "gevent", "eventlet", "solo"])
def test_other_kinds_of_workers(server, kind, tasks):
    if kind in {"gevent", "eventlet"}:
        pytest.importorskip(kind)
    namespace = f"celery-{kind}"
    pool = AccountManager(redis=server.url, namespace=namespace).pool("switches")
    pool.add_account([Account(f"a{number}", "secret") for number in range(1, 4)])
    sender = tasks.make_app(server.url, namespace)
    worker = CeleryWorker(APP, {"REDISPOOL_URL": server.url, "NAMESPACE": namespace, "TTL": "0.3"}, pool=kind)
    try:
        wait_until(worker.is_ready, 30)
        seconds = 0.5  # longer than a TTL: the keeper is at work
        results = [sender.send_task(f"{APP}.work", [seconds]) for _ in range(5)]
        assert {result.get(timeout=30) for result in results} == {"a1", "a2", "a3"}
        wait_free(pool)
        noted = [one.split()[0] for one in tasks.book.lrange(f"{namespace}:notes", 0, -1)]
        assert noted == ["use"] * 5
    finally:
        worker.remove()
