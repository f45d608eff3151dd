"""Which account: by labels, not these, rather that one; and who is served first."""

from __future__ import annotations

import pytest

from redispool import Account, AcquireTimeout, ConfigError, PoolEmpty
from tests.conftest import wait_until

EU, US, GOLD = {"region": "eu"}, {"region": "us"}, {"tier": "gold"}


def some_accounts():
    return [
        Account("e1", labels=EU), Account("u1", labels=US), Account("e2", labels=EU | GOLD),
        Account("u2", labels=US | GOLD), Account("plain"),
    ]  # fmt: skip


def turns(pool, count, **choice):
    names = []
    for _ in range(count):
        with pool.lease(timeout=0, **choice) as account:
            names.append(account.name)
    return names


def test_labels_choose_among_those_that_carry_them_in_turn(make_pool):
    pool = make_pool(some_accounts())
    first = turns(pool, 4, labels=EU)
    assert first[:2] == first[2:]
    assert sorted(first[:2]) == ["e1", "e2"]
    assert turns(pool, 2, labels=EU | GOLD) == ["e2", "e2"]
    assert sorted(turns(pool, 2, labels=GOLD)) == ["e2", "u2"]
    assert sorted(turns(pool, 5, labels={})) == ["e1", "e2", "plain", "u1", "u2"]


def test_choices_share_the_accounts(make_pool):
    pool = make_pool(some_accounts())
    one = pool.acquire_account(labels=EU | GOLD)
    assert one.name == "e2"
    assert turns(pool, 2, labels=EU) == ["e1", "e1"]
    assert turns(pool, 1, labels=GOLD) == ["u2"]
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(labels=EU | GOLD, timeout=0)
    one.release()


def test_those_who_ask_for_the_same_labels_are_served_in_order(make_pool, queue_up):
    pool = make_pool(some_accounts())
    held = [pool.acquire_account() for _ in range(5)]
    waiters = [queue_up(pool, labels=labels) for labels in (EU, US, EU, US)]
    any_one = queue_up(pool)
    for handle in held:
        handle.release()
    assert [waiter.result(5).name for waiter in waiters] == ["e1", "u1", "e2", "u2"]
    assert any_one.result(5).name == "plain"
    for waiter in (*waiters, any_one):
        waiter.result().release()


def test_who_wants_labels_does_not_hold_up_who_wants_any(make_pool, queue_up):
    pool = make_pool(some_accounts())
    held = [pool.acquire_account(labels=EU) for _ in range(2)]
    waiter = queue_up(pool, labels=EU)
    assert turns(pool, 4) == ["u1", "u2", "plain", "u1"]
    held[0].release()
    waiter.result(5).release()
    held[1].release()


def test_who_wants_any_does_not_starve_who_wants_labels(make_pool, queue_up):
    pool = make_pool([Account("e1", labels=EU), Account("u1", labels=US)])
    held = [pool.acquire_account() for _ in range(2)]
    for_eu = queue_up(pool, labels=EU)
    for_any = [queue_up(pool) for _ in range(3)]
    held[0].release()
    assert for_eu.result(5).name == "e1"
    held[1].release()
    assert for_any[0].result(5).name == "u1"
    for_any[0].result().release()
    for_any[1].result(5).release()
    for_any[2].result(5).release()
    for_eu.result().release()


def test_unknown_labels_are_told_at_once(make_pool):
    pool = make_pool(some_accounts())
    for timeout in (None, 0, 5):
        with pytest.raises(PoolEmpty, match="region=asia"):
            pool.acquire_account(labels={"region": "asia"}, timeout=timeout)
    with pytest.raises(PoolEmpty, match="region=eu"):
        pool.acquire_account(labels=EU | {"tier": "tin"})


def test_a_new_account_with_the_labels_is_found(make_pool, queue_up):
    pool = make_pool(some_accounts())
    held = [pool.acquire_account(labels=EU) for _ in range(2)]
    waiter = queue_up(pool, labels=EU)
    pool.add_account(Account("e3", labels=EU))
    assert waiter.result(5).name == "e3"
    for handle in (*held, waiter.result()):
        handle.release()
    with pytest.raises(PoolEmpty):
        pool.acquire_account(labels={"region": "asia"})
    pool.add_account(Account("j1", labels={"region": "asia"}))
    assert turns(pool, 1, labels={"region": "asia"}) == ["j1"]


def test_other_labels_take_an_account_from_one_choice_to_another(make_pool, queue_up):
    pool = make_pool(some_accounts())
    turns(pool, 1, labels=EU), turns(pool, 1, labels=US)
    pool.add_account(Account("e1", labels=US))
    assert sorted(turns(pool, 3, labels=US)) == ["e1", "u1", "u2"]
    assert turns(pool, 2, labels=EU) == ["e2", "e2"]
    held = pool.acquire_account(labels=EU)
    for_eu, for_us = queue_up(pool, labels=EU), [pool.acquire_account(labels=US) for _ in range(3)]
    pool.add_account(Account("e2", labels=US))  # while it is held, and somebody waits for it
    with pytest.raises(PoolEmpty):
        for_eu.result(1)
    waiter = queue_up(pool, labels=US)
    held.release()
    assert waiter.result(5).name == "e2"
    for handle in (*for_us, waiter.result()):
        handle.release()


def test_the_last_that_carries_the_labels_is_removed_under_who_waits_for_it(make_pool, queue_up):
    pool = make_pool(some_accounts())
    held = pool.acquire_account(labels=EU | GOLD)
    waiter = queue_up(pool, labels=EU | GOLD)
    pool.remove_account("e2")
    with pytest.raises(PoolEmpty):
        waiter.result(1)
    held.release()


def test_labels_outlive_a_rename_a_new_password_and_more_seats(make_pool):
    pool = make_pool(some_accounts())
    turns(pool, 2, labels=EU)
    pool.get_account_from_name("e1").set_name("e9")
    pool.get_account_from_name("e9").set_password("new")
    assert sorted(turns(pool, 2, labels=EU)) == ["e2", "e9"]
    held = pool.acquire_account("e9")
    held.set_name("e8")
    held.release()
    pool.add_account(Account("e8", labels=EU, max_sessions=3))
    handles = [pool.acquire_account(labels=EU, timeout=0) for _ in range(4)]
    assert sorted(handle.name for handle in handles) == ["e2", "e8", "e8", "e8"]
    for handle in handles:
        handle.release()


def test_reset_forgets_the_labels(make_pool, queue_up):
    pool = make_pool(some_accounts())
    turns(pool, 2, labels=EU)
    held = [pool.acquire_account(labels=EU) for _ in range(2)]
    waiter = queue_up(pool, labels=EU)
    pool.reset()
    with pytest.raises(PoolEmpty):
        waiter.result(5)
    pool.add_account([Account("e1", labels=US), Account("e7", labels=EU)])
    assert turns(pool, 2, labels=EU) == ["e7", "e7"]
    del held


def test_labels_of_accounts_that_are_never_locked(make_pool, queue_up):
    pool = make_pool([Account("f1", needs_lock=False, labels=EU), Account("f2", needs_lock=False, labels=EU)])
    assert sorted(pool.acquire_account(labels=EU).name for _ in range(4)) == ["f1", "f1", "f2", "f2"]
    assert turns(pool, 1, labels=EU, exclude=["f1"]) == ["f2"]


def test_labels_are_legible_to_the_scripts_though_the_record_is_sealed(make_pool):
    fernet = pytest.importorskip("cryptography.fernet").Fernet
    pool = make_pool(some_accounts(), cipher=fernet.generate_key(), max_failures=1, cooldown=0.01)
    with pool.lease(labels=EU | GOLD) as account:
        assert account.name == "e2"
        account.mark_bad("x")
        account.set_password("new")
    pool.restore("e2")
    with pool.lease(labels=EU | GOLD, timeout=5) as account:
        assert account.get_password() == "new"


def test_exclude_skips_accounts_and_leaves_them_their_turn(make_pool):
    pool = make_pool(4)
    assert turns(pool, 2, exclude=["a1", Account("a2")]) == ["a3", "a4"]
    assert turns(pool, 2) == ["a1", "a2"]


def test_who_waits_is_not_given_what_he_excluded(make_pool, queue_up):
    pool = make_pool(2)
    one, two = pool.acquire_account(), pool.acquire_account()
    choosy, easy = queue_up(pool, exclude=["a1"]), queue_up(pool)
    one.release()
    assert easy.result(5).name == "a1"
    assert not choosy.done()
    two.release()
    assert choosy.result(5).name == "a2"
    easy.result().release()
    choosy.result().release()


def test_more_than_a_thousand_stale_turns_do_not_hide_what_is_free(make_pool):
    pool = make_pool(1100)
    for number in range(1, 1101):  # each is taken out of its turn, so that the rotation is full of stale entries
        pool.acquire_account(f"a{number}").release()
    assert turns(pool, 1, exclude=["a1"]) == ["a2"]
    two = pool.acquire_accounts(2, timeout=5)
    for handle in two:
        handle.release()


def test_prefer_gets_that_one_if_it_is_free_else_the_next(make_pool):
    pool = make_pool(3)
    held = pool.acquire_account(prefer="a3")
    assert held.name == "a3"
    assert turns(pool, 1, prefer="a3") == ["a1"]
    held.release()
    assert turns(pool, 2, prefer="a3") == ["a3", "a3"]
    assert turns(pool, 1, prefer="gone") == ["a2"]


def test_prefer_true_is_the_one_that_this_owner_had_last(make_pool):
    pool = make_pool(3)
    for owner, expected in (("ann", "a1"), ("bob", "a2"), ("ann", "a1"), ("bob", "a2")):
        with pool.lease(owner=owner, prefer=True, timeout=0) as account:
            assert account.name == expected
    with pool.lease("a1"), pool.lease(owner="ann", prefer=True, timeout=0) as account:
        assert account.name == "a3"
    assert turns(pool, 1, prefer=True, owner="ann") == ["a3"]


def test_prefer_does_not_go_against_labels_or_exclude(make_pool):
    pool = make_pool(some_accounts())
    assert turns(pool, 1, prefer="u1", labels=EU)[0] in {"e1", "e2"}
    assert turns(pool, 1, prefer="u1", exclude=["u1"]) != ["u1"]
    assert turns(pool, 1, prefer="u2", labels=GOLD) == ["u2"]


def test_who_prefers_does_not_overtake_who_waits(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    waiter = queue_up(pool)
    held.release()
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(prefer="a1", timeout=0)
    waiter.result(5).release()


def test_priority_goes_first_and_arrival_within_one(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    low, normal, high, high_too = (queue_up(pool, priority=priority) for priority in (-1, 0, 5, 5))
    held.release()
    for waiter in (high, high_too, normal, low):
        waiter.result(5).release()


def test_priority_counts_between_those_who_want_different_things(make_pool, queue_up):
    pool = make_pool([Account("e1", labels=EU)])
    held = pool.acquire_account()
    for_any, for_eu, for_it = queue_up(pool), queue_up(pool, labels=EU, priority=1), queue_up(pool, "e1", priority=2)
    held.release()
    for waiter in (for_it, for_eu, for_any):
        waiter.result(5).release()


def test_who_comes_with_a_priority_goes_before_one_who_keeps_back_what_is_free(make_pool, start):
    pool = make_pool(3)
    held = pool.acquire_account()
    several = start(pool.acquire_accounts, 3)
    wait_until(lambda: pool.status().waiting == 1)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0.1)
    urgent = pool.acquire_account(timeout=0.5, priority=1)  # less than it sleeps who is not told to look again
    urgent.release()
    held.release()
    for handle in several.result(5):
        handle.release()


def test_a_minute_of_waiting_weighs_as_much_as_a_step(make_pool, queue_up, client):
    pool = make_pool(1)
    held = pool.acquire_account()
    old = queue_up(pool)
    queue = f"redispool:{{{pool.name}}}:queue"
    ((token, _),) = client.zrange(queue, 0, 0, withscores=True)
    young = queue_up(pool, priority=2)
    stamps = dict(client.zrange(queue, 0, -1, withscores=True))
    older = stamps.pop(token)
    (newer,) = stamps.values()
    assert 119 < (older - newer) / 1_000_000 <= 120  # two steps: two minutes
    held.release()
    young.result(5).release()
    old.result(5).release()


@pytest.mark.parametrize("wrong", [1.5, "1", None, True, 1001, -1001])
def test_a_priority_is_a_whole_number(make_pool, wrong):
    pool = make_pool(1)
    with pytest.raises(ConfigError, match="priority"):
        pool.acquire_account(priority=wrong)
    assert pool.status().held == 0


@pytest.mark.parametrize(
    "choice",
    [
        {"labels": "eu"}, {"labels": ["region"]}, {"labels": {"region": 1}}, {"labels": {"": "x"}},
        {"labels": {"a=b": "x"}}, {"labels": {"a": "x\ty"}}, {"labels": {f"l{n}": "x" for n in range(33)}},
        {"exclude": "a1"}, {"exclude": [1]}, {"exclude": 5}, {"exclude": [f"a{n}" for n in range(65)]},
        {"prefer": 5}, {"prefer": ""}, {"wait_for_restore": 1},
        {"account": "a1", "labels": EU}, {"account": "a1", "exclude": ["a2"]}, {"account": "a1", "prefer": "a2"},
    ],
)  # fmt: skip
def test_choices_that_make_no_sense_take_nothing(make_pool, choice):
    pool = make_pool(2)
    with pytest.raises(ConfigError):
        pool.acquire_account(**choice)
    assert (pool.status().held, pool.status().waiting) == (0, 0)


def test_an_unknown_choice_is_a_type_error(make_pool):
    with pytest.raises(TypeError, match="label"):
        make_pool(1).acquire_account(label=EU)


def test_there_may_be_a_thousand_choices(make_pool, client):
    pool = make_pool([Account("e1", labels={f"l{n}": "x" for n in range(32)})])
    turns(pool, 1, labels={"l0": "x"})
    client.hset(f"redispool:{{{pool.name}}}:choices", mapping={f"z{n}=x": f"\tz{n}=x\t" for n in range(2000)})
    with pytest.raises(ConfigError, match=r"1000 different choices .* reset\(\)"):
        pool.acquire_account(labels={"l1": "x"})
    assert turns(pool, 1, labels={"l0": "x"}) == ["e1"]
    wait_until(lambda: pool.status().free == 1)
