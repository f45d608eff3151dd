"""An audit finds what was tampered with, and nothing else, however busy the pool is."""

from __future__ import annotations

import threading

import pytest

from redispool import Account, AccountPool, AcquireTimeout
from redispool.protocol.audit import Disagreement
from tests.protocol.scripted import Stage


@pytest.fixture
def pool(make_pool):
    """Three accounts: one with three sessions, one of which is held; one that is held; one that is free."""
    pool = make_pool([Account("many", "x", max_sessions=3), Account("held", "x"), Account("free", "x")], ttl=30)
    holders = [pool.acquire_account("many"), pool.acquire_account("held")]
    yield pool
    for holder in holders:
        holder.lease.released = True  # what it was about may be gone by now


@pytest.fixture
def key(pool):
    return lambda rest: f"redispool:{{{pool.name}}}:{rest}"


def token_of(pool, account):
    return next(lease.token for lease in pool.status().leases if lease.account == account)


def test_a_sound_pool_has_nothing_to_be_found(pool):
    assert pool.audit() == []


def test_an_empty_pool_has_nothing_to_be_found(make_pool):
    assert make_pool().audit() == []


TAMPERINGS = {
    "a seat that was lost": (
        lambda client, key, token: client.rpop(key("idle:many")),
        "it is neither free, held, cooling, to be cleaned nor quarantined",
    ),
    "a seat that is free twice": (
        lambda client, key, token: client.rpush(key("idle:many"), "2"),
        "it is in two places: free, free",
    ),
    "a held account put back into the rotation": (
        lambda client, key, token: (client.rpush(key("rotation"), "held"), client.hset(key("places"), "held", 1)),
        "it is in two places: free, held",
    ),
    "a free account set to rest": (
        lambda client, key, token: client.zadd(key("cooling"), {"free": 4e12}),
        "it is in two places: free, cooling",
    ),
    "a free account to be cleaned": (
        lambda client, key, token: client.zadd(key("dirty"), {"free": 1}),
        "it is in two places: free, to be cleaned",
    ),
    "a rotation that lost an entry": (
        lambda client, key, token: client.lpop(key("rotation")),
        "it has 1 entries in a rotation, and 2 are counted",
    ),
    "an entry that nobody counted": (
        lambda client, key, token: client.lpush(key("rotation"), "stray"),
        "its entries in a rotation are not counted",
    ),
    "a wrong number of free seats": (
        lambda client, key, token: client.hincrby(key("meta"), "more", 1),
        "4 seats are said to be free, and 3 are",
    ),
    "a turn without a seat": (
        lambda client, key, token: client.delete(key("idle:many")),
        "it has a turn and no free seat, or the reverse",
    ),
    "a lock that was deleted": (
        lambda client, key, token: client.delete(key("lock:held")),
        "it has a lease, but no lock",
    ),
    "a lock that somebody else took over": (
        lambda client, key, token: client.set(key("lock:held"), "mine", px=60_000),
        "its lock is not that of its lease",
    ),
    "a lock that lasts for ever": (
        lambda client, key, token: client.persist(key("lock:held")),
        "its lock has no end",
    ),
    "a lock that is a list": (
        lambda client, key, token: (client.delete(key("lock:held")), client.rpush(key("lock:held"), "x")),
        "its lock is a list",
    ),
    "a lease that no owner is told of": (
        lambda client, key, token: client.hset(key("meta"), mapping={"version": "1 settings", "owners": "all"}),
        "its owner is not told of its lease",
    ),
    "a lease that is not in the index": (
        lambda client, key, token: client.zrem(key("leases"), token),
        "its lease is not in the index of leases, so it never ends",
    ),
    "an index of a lease that is none": (
        lambda client, key, token: client.zadd(key("leases"), {"ghost": 4e12}),
        "the index of leases names it, but it is none",
    ),
    "a member without a record": (
        lambda client, key, token: client.hdel(key("accounts"), "free"),
        "it is a member without a record",
    ),
    "a record of no member": (
        lambda client, key, token: client.hset(key("accounts"), "stray", "1\n{}"),
        "they are not as many as there are records",
    ),
    "a hash of no member": (
        lambda client, key, token: client.hset(key("hashes"), "00", "stray"),
        "it has a hash, but is no member",
    ),
    "a request in no queue": (
        lambda client, key, token: client.hset(key("requests"), "ghost", "b\nme\n1000\n0\n\n"),
        "it waits in no queue",
    ),
    "a queue of somebody who asks for nothing": (
        lambda client, key, token: client.zadd(key("queue"), {"ghost": 1}),
        "it is in a queue without a request",
    ),
    "the same in the queue of an account": (
        lambda client, key, token: client.zadd(key("queue:free"), {"ghost": 1}),
        "it is in a queue without a request",
    ),
    "the quarantine of no member": (
        lambda client, key, token: client.hset(key("quarantine"), "stray", "0\nme\nwhy"),
        "it is quarantined, but no member",
    ),
    "a quarantined account that is handed out": (
        lambda client, key, token: client.hset(key("quarantine"), "free", "0\nme\nwhy"),
        "it is quarantined, but has its turn",
    ),
}


@pytest.mark.parametrize(("tamper", "wrong"), TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_what_was_tampered_with_is_found(pool, key, client, tamper, wrong):
    lease = next(lease for lease in pool.status().leases if lease.account == "held")
    tamper(client, key, lease.token)
    before = {name: client.dump(name) for name in client.scan_iter(key("*").replace("{", "[{]"))}
    assert wrong in [one.wrong for one in pool.audit()]
    assert {name: client.dump(name) for name in client.scan_iter(key("*").replace("{", "[{]"))} == before


def test_accounts_with_labels_that_lost_their_turn_are_found(make_pool, client):
    pool = make_pool([Account(f"a{n}", "x", labels={"site": "eu"}) for n in range(3)])
    pool.acquire_account(labels={"site": "eu"}).release()
    assert pool.audit() == []
    (rotation,) = client.keys(f"redispool:[{{]{pool.name}}}:rotation\t*")
    client.lpop(rotation)
    client.srem(rotation.replace(b":rotation", b":carriers:"), "a2")
    found = [one.wrong for one in pool.audit()]
    assert "it has 0 entries in a rotation, and 1 are counted" in found
    assert "it is not listed under its labels" in found


def test_somebody_who_waits_for_what_is_free_is_found_if_he_has_not_taken_it_when_he_asked_again(pool, key, client):
    def show_life():
        seconds, microseconds = client.time()
        now = seconds * 1000 + microseconds // 1000
        client.hset(key("requests"), "sleeper", f"{now + 50}\nme\n1000\n0\n\n")

    client.zadd(key("queue"), {"sleeper": 1})
    show_life()
    assert pool.audit() == []
    stop, shown = threading.Event(), threading.Event()

    def live():
        while not stop.wait(0.01):
            show_life()
            shown.set()

    living = threading.Thread(target=live)
    living.start()
    try:
        assert shown.wait(10)
        assert [str(one) for one in pool.audit()] == ["'sleeper': it waits for what is free"]
    finally:
        stop.set()
        living.join()


def test_what_is_gone_at_the_second_look_is_no_disagreement():
    end = ("audit", [b"end"])
    stage = Stage()
    doubtful = ("audit", [b"end", b"t1", b"it waits", 500, b"t2", b"it waits", 400])
    still = ("audit", [b"end", b"t1", b"it waits", 500])
    assert stage.play(stage.audits.audit(), *[end] * 4, doubtful, still, *[end] * 4) == [Disagreement("t1", "it waits")]
    assert stage.clock() == 1000.5


def test_a_large_pool_is_looked_at_in_pages_and_each_seat_once(make_pool, client):
    accounts = [Account(f"s{n}", "x", max_sessions=7) for n in range(250)]
    pool = make_pool([Account("wide", "x", max_sessions=1200), *accounts])
    assert pool.audit() == []
    for name, number in (("wide", 1), ("wide", 1100), ("s3", 5), ("s249", 7)):
        client.lrem(f"redispool:{{{pool.name}}}:idle:{name}", 1, number)
    found = [one.subject for one in pool.audit() if one.wrong.startswith("it is neither")]
    assert found == ["wide", "wide\t1100", "s3\t5", "s249\t7"]


def test_a_busy_pool_gives_no_false_alarm(make_pool, server):
    names = [f"a{n}" for n in range(4)]
    pool = make_pool([Account(name, "x", max_sessions=1 + n % 2) for n, name in enumerate(names)], ttl=0.05)
    stop = threading.Event()

    def work(number):
        mine = AccountPool(name=pool.name, redis=server.url, ttl=0.05, auto_renew=False)
        while not stop.is_set():
            try:
                account = mine.acquire_account(names[number] if number < 2 else None, timeout=0.1)
            except AcquireTimeout:
                continue
            if number == 3:
                account.lease.released = True  # abandoned: it comes back by its TTL
            else:
                account.release(cooldown=0.001 if number == 4 else 0)

    def rule():
        while not stop.wait(0.005):
            pool.quarantine("a3", "for a while")
            pool.restore("a3")
            pool.remove_account("a2")
            pool.add_account(Account("a2", "x", max_sessions=2))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)] + [threading.Thread(target=rule)]
    for thread in threads:
        thread.start()
    try:
        audits = [pool.audit() for _ in range(60)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [found for found in audits if found] == []
    assert pool.audit() == []
