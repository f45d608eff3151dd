"""What the integrations of task queues have in common."""

from __future__ import annotations

import copy
import multiprocessing
import pickle

import pytest

from redispool import Account, ConfigError, LeaseLost
from redispool.tasks import ManagerOfProcess, Return, TaskAccount, Wish, current_account, holding, take

from .conftest import wait_until


@pytest.fixture
def pool(make_pool):
    return make_pool(1)


def held(pool):
    return take(Wish(pool.name), pool, "me", may_return=True)


def test_a_tasks_account_is_the_current_one_until_its_end(pool):
    assert current_account() is None
    with holding(pool, held(pool)) as account:
        assert current_account() is account
        assert account == Account("a1")
        assert pool.status().held == 1
    assert current_account() is None
    assert pool.status().free == 1


def test_an_error_of_the_task_releases_it_and_comes_out(pool):
    with pytest.raises(KeyError), holding(pool, held(pool)):
        raise KeyError
    assert current_account() is None
    assert pool.status().free == 1


def test_a_task_whose_lease_was_lost_learns_it_at_its_end(make_pool):
    pool = make_pool(1, ttl=0.05, auto_renew=False)
    with pytest.raises(LeaseLost), holding(pool, held(pool)):
        pool.acquire_account(timeout=5)  # by somebody else, as the task has stalled


@pytest.mark.parametrize("send", [pickle.dumps, copy.deepcopy, copy.copy])
def test_a_tasks_account_cannot_be_sent_anywhere(pool, send):
    with holding(pool, held(pool)) as account:
        assert isinstance(account, TaskAccount)
        with pytest.raises(ConfigError, match="send its name") as caught:
            send([account] if send is not copy.copy else account)
        assert "secret" not in str(caught.value).replace("has secrets", "")


def test_those_far_back_in_the_queue_come_again_later(make_pool):
    pool = make_pool(1)
    account = held(pool)
    wish = Wish(pool.name, wait="retry", countdown=0.5)
    returns = [take(wish, pool, None, may_return=True) for _ in range(200)]
    assert all(isinstance(one, Return) for one in returns)
    times = [one.countdown for one in returns]
    assert times[0] == 0.5
    assert times == sorted(times)
    assert times[-1] == 5.0
    account.release()


def test_a_ticket_for_another_pool_is_not_used(make_pool):
    pool = make_pool(1)
    account = held(pool)
    first = take(Wish(pool.name, wait="retry"), pool, None, may_return=True)
    ticket = {**first.ticket, "pool": "another"}
    second = take(Wish(pool.name, wait="retry"), pool, None, may_return=True, ticket=ticket)
    assert second.ticket["stamp"] > first.ticket["stamp"]
    account.release()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either account_pool='NAME' or account_for"),
        ({"pool": "p", "host": str}, "either account_pool='NAME' or account_for"),
        ({"pool": "p{"}, "the name of a pool"),
        ({"host": "sw1"}, "account_for must be a callable"),
        ({"pool": "p", "wait": "sleep"}, "account_wait must be 'block' or 'retry'"),
        ({"pool": "p", "timeout": -1}, "account_timeout"),
        ({"pool": "p", "countdown": 0}, "account_countdown"),
        ({"pool": "p", "choice": {"labels": 5}}, "labels"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_at_once(options, words):
    with pytest.raises(ConfigError, match=words):
        Wish(**options)


def test_a_forked_process_opens_a_manager_and_connections_of_its_own(server, pool_name):
    manager_of = ManagerOfProcess(lambda: {"redis": server.url})
    mine = manager_of()
    assert manager_of() is mine
    mine.pool(pool_name).add_account(Account("a1"))
    with mine.pool(pool_name).lease():
        inner, outer = multiprocessing.Pipe()

        def child():
            theirs = manager_of()
            outer.send((theirs is not mine, theirs.pool(pool_name).status().held))

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        assert inner.recv() == (True, 1)
        process.join()
    assert mine.pool(pool_name).status().free == 1


def test_closed_it_has_no_connections_until_it_is_asked_again(server, pool_name, client):
    name = f"closing-{pool_name}"
    manager_of = ManagerOfProcess(lambda: {"redis": f"{server.url}?client_name={name}"})

    def connections():
        return [one for one in client.client_list() if one["name"] == name]

    manager_of().pool(pool_name).add_account(Account("a1"))
    assert connections()
    manager_of.close()
    wait_until(lambda: not connections())
    assert manager_of().pool(pool_name).status().free == 1
