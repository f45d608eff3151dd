"""Whatever stands in Redis, or comes over a pipe: at most a clear error; never a hang, a lost account, or code run."""

from __future__ import annotations

import itertools
import json

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redispool import Account, AcquireTimeout, ProtocolMismatch, RedispoolError
from redispool.pipe_messages import decode as decode_message
from redispool.protocol.foreign import understood
from redispool.protocol.keys import PoolKeys
from redispool.protocol.log_flows import LogFlows
from redispool.protocol.oversight import _lease_row, _quarantine_row, _read_json, _waiter_row, event_rows
from redispool.protocol.requests import read_grant
from redispool.protocol.routes import decode_route
from redispool.terms import policy_from

JUNK = st.one_of(
    st.binary(max_size=60),
    st.lists(st.binary(max_size=8), max_size=9).map(b"\n".join),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                 lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
                 max_leaves=6).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"[" * 99_000, b"9" * 5000, b"nan", b"1e999", b"-1", b"\x80\x02c__builtin__\neval\n", b"{" * 9]),
)  # fmt: skip
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_keys = itertools.count()


def error_of(attempt):
    """What it raised, or None."""
    try:
        attempt()
    except Exception as error:
        return error
    return None


# -- parsers -----------------------------------------------------------------------------------------------------

PARSERS = {
    "grant": lambda junk: read_grant(junk, 0.0, 0),
    "lease": lambda junk: understood("x", _lease_row, b"t", junk[:20], junk),
    "quarantine": lambda junk: understood("x", _quarantine_row, junk, junk),
    "waiter": lambda junk: understood("x", _waiter_row, junk, b"1", junk),
    "event": lambda junk: event_rows(junk, [junk, junk, b"granted", junk]),
    "policy": _read_json,
    "route": decode_route,
    "message": decode_message,
    "log": lambda junk: LogFlows(None, "k")._entry(junk, [junk, junk, b"event", junk]),
}


@pytest.mark.parametrize("name", PARSERS)
@given(junk=JUNK)
@settings(max_examples=200, deadline=None)
def test_no_parser_raises_anything_but_a_clear_error(name, junk):
    raised = error_of(lambda: PARSERS[name](junk))
    assert raised is None or isinstance(raised, ValueError if name == "route" else RedispoolError)


@given(rules=st.dictionaries(st.sampled_from(["cooldown", "pace", "events", "cleanup"]), st.integers() | st.floats()))
@settings(max_examples=100, deadline=None)
def test_no_number_in_a_policy_breaks_who_reads_it(rules):
    raised = error_of(lambda: understood("the policy", policy_from, rules))
    assert raised is None or isinstance(raised, ProtocolMismatch)


# -- scripts -----------------------------------------------------------------------------------------------------

HASHES = ("held", "requests", "choices", "health", "rest", "surplus", "quarantine", "places", "hashes", "accounts")
FIELDS = (b"a1", b"a2", b"token", b"failures:a1", b"uses:a1", b"site=east", b"\tsite=east\t")


def act(pool):
    """What any host may do meanwhile; each attempt has an answer, in time."""
    attempts = (
        lambda: pool.acquire_account(owner="me", timeout=0).release(),
        lambda: pool.acquire_account("a2", owner="me", timeout=0).release(),
        lambda: pool.acquire_account(labels={"site": "east"}, timeout=0).release(),
        lambda: [account.release() for account in pool.acquire_accounts(2, timeout=0)],
        lambda: pool.release_accounts("me"), pool.status, pool.waiting, pool.history, lambda: pool.unlocked_accounts,
        lambda: pool.quarantine("a2"), lambda: pool.restore("a2"),
    )  # fmt: skip
    for attempt in attempts:
        raised = error_of(attempt)
        assert raised is None or (isinstance(raised, RedispoolError) and str(raised)), raised


@given(hashed=st.lists(st.tuples(st.sampled_from(HASHES), st.sampled_from(FIELDS), JUNK), max_size=4), meta=JUNK)
@QUICK
def test_no_garbage_in_a_hash_makes_a_script_hang_or_run_away(server, make_pool, hashed, meta):
    name = f"junk-{next(_keys)}"
    pool = make_pool([Account("a1", "x"), Account("a2", "x", labels={"site": "east"}, max_sessions=2)], name=name)
    with server.client() as client:
        for key, field, junk in hashed:
            client.hset(f"redispool:{{{name}}}:{key}", field, junk)
        act(pool)
        client.hset(f"redispool:{{{name}}}:meta", mapping={"version": "1 extras", "policy": meta})
        act(pool)
        for key in client.scan_iter(f"redispool:{{{name}}}*"):
            client.delete(key)


@pytest.mark.parametrize(
    ("field", "junk"),
    [(field, "garbage") for field in ("more", "stale", "fence", "stamp", "next_at", "policy")]
    + [("fence", "007"), ("stale", "9" * 19)],
)
def test_garbage_in_meta_is_named_before_anything_changes(make_pool, client, pool_name, field, junk):
    make_pool(2)
    keys = PoolKeys("redispool", pool_name)
    client.hset(keys.meta, field, junk)
    before = {key: client.dump(key) for key in client.scan_iter(f"redispool:{{{pool_name}}}*")}
    with pytest.raises(ProtocolMismatch, match=f"field '{field}' of hash '{keys.meta}'"):
        make_pool().acquire_account(timeout=0)
    assert {key: client.dump(key) for key in client.scan_iter(f"redispool:{{{pool_name}}}*")} == before


@pytest.mark.parametrize("junk", ["garbage", "007", "9223372036854775807"])
def test_a_fence_that_is_none_costs_no_account_and_those_to_come_are_larger(make_pool, client, pool_name, junk):
    pool = make_pool(2)
    first = pool.acquire_account()
    client.hset(PoolKeys("redispool", pool_name).meta, "fence", junk)
    fences = [first.lease.fence]
    for name in ("a2", None):  # that very one, and the next in turn
        account = pool.acquire_account(name, timeout=0)
        fences.append(account.lease.fence)
        account.release()
    assert fences == sorted(set(fences))
    first.release()
    assert pool.status().free == 2


@pytest.mark.parametrize("field", ["more", "stale"])
def test_what_is_free_is_counted_anew_once_all_is_taken(make_pool, client, pool_name, field):
    pool = make_pool([Account("a", "x"), Account("b", "x", max_sessions=2)])
    pool.acquire_account("a").release()  # leaves a stale entry
    client.hset(PoolKeys("redispool", pool_name).meta, field, "garbage")
    pool.acquire_account("b").release()
    taken = [pool.acquire_account(timeout=0) for _ in range(3)]
    assert error_of(lambda: pool.acquire_account(timeout=0)).__class__ is AcquireTimeout
    for account in taken:
        account.release()
    assert pool.status().free == 3


def test_seats_are_counted_also_where_one_has_a_lock_of_another_type(make_pool, client, pool_name):
    pool = make_pool([Account("a", "x", max_sessions=3)])
    lock = f"redispool:{{{pool_name}}}:lock:a"
    client.set(lock, "an operator's")
    client.hset(f"{lock}\t2", "x", "y")
    with pytest.raises(Exception, match="WRONGTYPE"):
        pool.acquire_account(timeout=0)
    client.delete(f"{lock}\t2")
    assert pool.status().free == 2
    assert list(pool.audit()) == []


def test_a_pool_whose_version_was_removed_stays_sealed_and_ruled(make_pool, client, pool_name):
    pool = make_pool(1, cipher=Fernet.generate_key())
    meta = PoolKeys("redispool", pool_name).meta
    for version in (b"1 settings", b"1 extras"):
        assert client.hget(meta, "version") == version
        client.hdel(meta, "version")
        pool.add_account(Account(f"another-{version[2:].decode()}", "x"))
        assert client.hget(meta, "version") == version
        pool.configure(cooldown=1)


@pytest.mark.parametrize("policy", ['{"pace":"fast"}', "[]x", '{"cleanup":1e', '{"cooldown":{}}', "7", "null"])
def test_a_policy_that_is_none_is_refused_and_not_guessed(make_pool, client, pool_name, policy):
    pool = make_pool(1)
    client.hset(PoolKeys("redispool", pool_name).meta, mapping={"version": "1 extras", "policy": policy})
    with pytest.raises(ProtocolMismatch, match="'policy'"):
        pool.acquire_account(timeout=0)


def test_a_record_that_is_none_is_named_whoever_is_given_it_and_the_others_go_on(make_pool, client, pool_name):
    pool = make_pool(3)
    client.hset(PoolKeys("redispool", pool_name).accounts, "a2", "99999999999999 garbage")
    raised = [error_of(lambda: pool.acquire_account(timeout=0).release()) for _ in range(6)]
    assert [error is None for error in raised] == [True, False, True] * 2
    assert "account 'a2'" in str(raised[1])
    pool.add_account(Account("a2", "mended"))
    assert pool.status().free == 3


def test_a_request_that_is_none_is_dropped_and_holds_up_nobody(make_pool, client, pool_name):
    pool = make_pool(1)
    held = pool.acquire_account()
    prefix = f"redispool:{{{pool_name}}}:"
    for number, junk in enumerate(
        ("", "x", "a\nb\nc", "a\nb\n1\n2\n\n{", "a\nb\n1\n2\n\n[1]", 'a\nb\n1\n2\n\n{"count":"x"}')
    ):
        client.zadd(f"{prefix}queue", {f"junk-{number}": number})
        client.hset(f"{prefix}requests", f"junk-{number}", junk)
    held.release()
    pool.acquire_account(timeout=1).release()
    assert client.zcard(f"{prefix}queue") == 0


@pytest.mark.parametrize(
    "junk", ["garbage", "", "1.5", "nan", "inf", "0x10", "9" * 400, "9223372036854775807", "00", "-0"]
)
@pytest.mark.parametrize("when", ["free", "held", "waited for"])
@pytest.mark.parametrize("labels", [None, {"site": "east"}], ids=["plain", "labels"])
def test_garbage_where_turns_are_counted_costs_no_account_its_turn(make_pool, client, pool_name, junk, when, labels):
    pool = make_pool([Account(f"a{number}", "x", labels=labels) for number in (1, 2, 3)])
    if labels:
        pool.acquire_account(labels=labels).release()
    places = [f"redispool:{{{pool_name}}}:places", f"redispool:{{{pool_name}}}:places\tsite=east\t"]
    held = pool.acquire_account("a2") if when != "free" else None
    for key in places if labels else places[:1]:
        client.hset(key, "a2", junk)
    if when == "waited for":
        assert error_of(lambda: pool.acquire_account("a2", timeout=0.01)).__class__ is AcquireTimeout
    if held is not None:
        held.release()
    for _ in range(3):  # by turns, and that very one
        taken = [pool.acquire_account(timeout=1, **({"labels": labels} if labels else {})) for _ in range(3)]
        assert sorted(account.name for account in taken) == ["a1", "a2", "a3"]
        assert error_of(lambda: pool.acquire_account(timeout=0)).__class__ is AcquireTimeout
        for account in taken:
            account.release()
        pool.acquire_account("a2", timeout=1).release()
    pool.get_account_from_name("a2").set_name("b2")
    assert pool.acquire_account("b2", timeout=1).name == "b2"


@pytest.mark.parametrize("junk", ["garbage", "1.5", "9" * 400])
def test_garbage_where_turns_are_counted_does_not_stop_a_renaming_or_a_removal_half_way(
    make_pool, client, pool_name, junk
):
    pool = make_pool(2)
    client.hset(f"redispool:{{{pool_name}}}:places", "a1", junk)
    pool.get_account_from_name("a1").set_name("b1")
    client.hset(f"redispool:{{{pool_name}}}:places", "b1", junk)
    held = {account.name: account for account in (pool.acquire_account(timeout=1) for _ in range(2))}
    assert sorted(held) == ["a2", "b1"]
    client.hset(f"redispool:{{{pool_name}}}:places", "a2", junk)
    pool.remove_account("a2")
    held["b1"].release()
    assert [pool.acquire_account(timeout=1).name, pool.n_accounts()] == ["b1", 1]


@pytest.mark.parametrize("many", ["9" * 400, "1e300", "99999999999"])
@pytest.mark.parametrize("key", ["surplus", "accounts"])
def test_no_number_of_seats_keeps_the_server_busy(make_pool, client, pool_name, key, many):
    pool = make_pool([Account("a1", "x"), Account("a2", "x", labels={"site": "east"}, max_sessions=2)])
    for name in ("a1", "a2"):
        client.hset(f"redispool:{{{pool_name}}}:{key}", name, many + "\n{}" if key == "accounts" else many)
    act(pool)
    pool.add_account([Account("a1", "x"), Account("a2", "x")])
    pool.remove_account(["a1", "a2"])
    assert pool.n_accounts() == 0


# -- keys of the wrong type --------------------------------------------------------------------------------------


def test_an_owners_index_of_another_type_costs_nothing_but_release_accounts(make_pool, client, pool_name):
    pool = make_pool(1)
    client.set(f"redispool:{{{pool_name}}}:owner:me", "somebody's own")
    held = pool.acquire_account(owner="me", timeout=0)
    with pytest.raises(ProtocolMismatch, match="WRONGTYPE"):
        pool.release_accounts("me")
    held.release()
    pool.acquire_account(owner="me", timeout=0).release()
    assert pool.status().free == 1
    assert client.get(f"redispool:{{{pool_name}}}:owner:me") == b"somebody's own"


@pytest.mark.parametrize("sessions", [1, 2])
def test_a_lock_of_another_type_is_named_and_no_seat_is_lost(make_pool, client, pool_name, sessions):
    pool = make_pool([Account("a1", "x", max_sessions=sessions)])
    client.rpush(f"redispool:{{{pool_name}}}:lock:a1", "somebody's own")
    with pytest.raises(ProtocolMismatch, match="WRONGTYPE"):
        pool.acquire_account(timeout=0)
    client.delete(f"redispool:{{{pool_name}}}:lock:a1")
    held = [pool.acquire_account(timeout=1) for _ in range(sessions)]
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    for account in held:
        account.release()


def test_a_list_of_free_seats_of_another_type_is_named_and_no_seat_is_lost(make_pool, client, pool_name):
    pool = make_pool([Account("a1", "x", max_sessions=2), Account("b1", "x")])
    held = pool.acquire_account("a1", timeout=0)
    key = f"redispool:{{{pool_name}}}:idle:a1"
    client.rename(key, "aside")
    client.set(key, "somebody's own")
    with pytest.raises(ProtocolMismatch, match="WRONGTYPE"):
        pool.acquire_account("a1", timeout=0)
    with pool.lease("b1", timeout=0):
        held.release()
    client.delete(key)
    client.rename("aside", key)
    both = [pool.acquire_account("a1", timeout=5) for _ in range(2)]
    assert len({account.lease.token for account in both}) == 2


def test_a_queue_of_another_type_holds_up_nobody_else(make_pool, client, pool_name):
    pool = make_pool(1)
    client.set(f"redispool:{{{pool_name}}}:queue:a1", "somebody's own")
    for _ in range(3):
        pool.acquire_account(timeout=1).release()
    held = pool.acquire_account(timeout=0)
    with pytest.raises(ProtocolMismatch, match="WRONGTYPE"):
        pool.acquire_account("a1", timeout=1)
    held.release()
    assert pool.status().free == 1
