"""The rules that all hosts share: how they spread, what may stand in Redis, and when they are read."""

from __future__ import annotations

import ipaddress
import re
import subprocess
import sys
import threading

import pytest

from redispool import AccountManager, ConfigError, PoolEmpty, ProtocolMismatch
from redispool.protocol.channel import Channel
from redispool.protocol.routes import Route
from redispool.protocol.rules import Glob
from redispool.routing import MAX_AGE, Router

from .conftest import wait_until
from .managers import fill, serves

# -- many hosts ----------------------------------------------------------------------------------------------------


def test_a_rule_added_or_removed_on_one_host_is_soon_seen_by_every_other(make_manager):
    here, elsewhere = make_manager(), make_manager()
    fill(here, "default", "lab")
    assert serves(elsewhere, "lab-1") == "default"
    here.add_pool("lab", "lab-*")
    assert serves(here, "lab-1") == "lab", "where it was added, at once"
    wait_until(lambda: serves(elsewhere, "lab-1") == "lab", 1.0)
    assert elsewhere.remove_pool("lab", "lab-*") == 1
    assert serves(elsewhere, "lab-1") == "default"
    wait_until(lambda: serves(here, "lab-1") == "default", 1.0)


def test_another_process_routes_alike(make_manager, server, namespace):
    program = """
import sys
from redispool import AccountManager
manager = AccountManager(redis=sys.argv[1], namespace=sys.argv[2])
for host in ("lab-1", "r7", "10.1.2.3", "other"):
    account = manager.acquire_account_for(host, timeout=5)
    print(account.name)
    account.release()
manager.remove_pool("globs")
"""
    manager = make_manager()
    fill(manager, "default", "globs", "regexes", "networks")
    manager.add_pool("globs", "lab-*")
    manager.add_pool("regexes", re.compile(r"^r\d$"))
    manager.add_pool("networks", ipaddress.ip_network("10.0.0.0/8"))
    words = [sys.executable, "-c", program, server.url, namespace]
    told = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.split() == ["globs-account", "regexes-account", "networks-account", "default-account"]
    assert [route.pool for route in manager.routes()] == ["regexes", "networks"]


def test_a_rule_is_added_once_and_keeps_its_place(make_manager):
    here, elsewhere = make_manager(), make_manager()
    fill(here, "first", "second")
    for one in (here, elsewhere, here):
        one.add_pool("first", ["a*", "b*"])
        one.add_pool("second", "*")
    assert (
        here.routes()
        == elsewhere.routes()
        == [
            Route("first", (Glob("a*"), Glob("b*"))),
            Route("second", (Glob("*"),)),
        ]
    )
    assert serves(elsewhere, "a1") == "first"


def test_hosts_that_add_the_same_rules_at_once_add_each_once(make_manager):
    managers = [make_manager() for _ in range(6)]
    begin = threading.Barrier(len(managers))

    def add(manager):
        begin.wait()
        for number in range(10):
            manager.add_pool(f"pool-{number}", f"host-{number}-*")

    threads = [threading.Thread(target=add, args=[manager]) for manager in managers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(route.pool for route in managers[0].routes()) == sorted(f"pool-{number}" for number in range(10))


def test_rules_are_not_read_again_for_each_acquisition(manager, client):
    fill(manager, "default")
    manager.acquire_account_for("r1").release()
    reads = client.info("commandstats").get("cmdstat_lrange", {"calls": 0})["calls"]
    for _ in range(20):
        account = manager.acquire_account_for("r1")
        account.release()
    assert client.info("commandstats")["cmdstat_lrange"]["calls"] - reads < 20


# -- what stands in Redis ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [b"lab-* lab", b"\x80\x04pickle", b'{"pool":"lab","match":[{"glob":"a["}]}'])
def test_an_entry_that_is_no_rule_is_named_and_nobody_is_routed_past_it(manager, client, namespace, entry):
    fill(manager, "default")
    key = f"{namespace}:routes"
    client.rpush(key, '{"pool":"lab","match":[{"glob":"lab-*"}]}', entry)
    with pytest.raises(ProtocolMismatch, match=rf"entry 1 of list '{key}'.*LREM"):
        manager.acquire_account_for("lab-1")
    assert manager.acquire_account(timeout=0).name == "default-account", "the default pool needs no rules"
    client.lrem(key, 1, entry)
    with pytest.raises(PoolEmpty, match="'lab'"):
        manager.acquire_account_for("lab-1")


def test_a_key_of_another_type_where_the_rules_should_be_is_named(manager, client, namespace):
    client.set(f"{namespace}:routes", "a string")
    for attempt in (
        lambda: manager.acquire_account_for("lab-1"),
        lambda: manager.add_pool("lab", "lab-*"),
        manager.routes,
    ):
        with pytest.raises(ProtocolMismatch, match="holds something else"):
            attempt()
    assert client.get(f"{namespace}:routes") == b"a string"


def test_there_is_an_end_to_how_many_rules_there_may_be(manager, client, namespace):
    client.rpush(f"{namespace}:routes", *(f'{{"pool":"lab","match":[{{"glob":"{n}"}}]}}' for n in range(1000)))
    with pytest.raises(ConfigError, match="1000 routing rules already"):
        manager.add_pool("lab", "one-more")
    client.rpush(f"{namespace}:routes", "x")
    with pytest.raises(ProtocolMismatch, match="more than 1000"):
        manager.acquire_account_for("lab-1")


@pytest.mark.timeout(30)
def test_a_hostile_expression_in_redis_hangs_nobody(manager, client, namespace):
    fill(manager, "default")
    client.rpush(f"{namespace}:routes", r'{"pool":"lab","match":[{"regex":"^((a+)+|(a|aa)+|(a*)*)*$"}]}')
    assert serves(manager, "a" * 253 + "!") == "default"


def test_an_expression_in_redis_that_cannot_be_bounded_is_an_error_for_the_hosts_that_come_to_it(
    manager, client, namespace
):
    fill(manager, "default", "lab")
    manager.add_pool("lab", "lab-*")
    client.rpush(f"{namespace}:routes", r'{"pool":"lab","match":[{"regex":"(a)\\1"}]}')
    assert serves(manager, "lab-1") == "lab"
    with pytest.raises(ConfigError, match="no backreferences"):
        manager.acquire_account_for("r1")


def test_rules_outlive_an_outage_of_the_server(own_server, namespace):
    server = own_server(appendonly="yes", appendfsync="always")
    manager = AccountManager(redis=server.url, namespace=namespace)
    fill(manager, "lab")
    manager.add_pool("lab", "lab-*")
    assert serves(manager, "lab-1") == "lab"
    server.kill()
    restart = threading.Timer(0.3, server.start)
    restart.start()
    manager.add_pool("lab", "test-*")
    restart.join()
    assert serves(manager, "test-1") == "lab"


# -- without Redis -------------------------------------------------------------------------------------------------


class Opened:
    """As much of a pool as the router asks for."""

    namespace = "ns"

    def __init__(self, name):
        self.name = name


def answered(flow, *replies):
    """What a flow returns, and how many commands it sent, fed with these replies."""
    sent = 0
    try:
        flow.send(None)
        for reply in replies:
            sent += 1
            flow.send(reply)
    except StopIteration as stop:
        return getattr(stop.value, "name", stop.value), sent
    raise AssertionError("it asks for more than it should")


def test_rules_are_read_again_when_they_are_old_or_were_changed_here():
    now = [100.0]
    router = Router("ns", Channel(patience=1.0, clock=lambda: now[0]), Opened)
    lab = b'{"pool":"lab","match":[{"glob":"a*"}]}'
    assert answered(router.choose("a1"), []) == ("default", 1)
    now[0] += MAX_AGE
    assert answered(router.choose("a1")) == ("default", 0)
    now[0] += 0.01
    assert answered(router.choose("a1"), [lab]) == ("lab", 1)
    now[0] += 0.01
    assert answered(router.add(router.pool("x"), "b*"), 1) == (True, 1)
    assert answered(router.choose("b1"), [lab, b'{"pool":"x","match":[{"glob":"b*"}]}']) == ("x", 1)
    assert answered(router.choose("b1")) == ("x", 0)


def test_an_older_reading_never_replaces_a_newer_one():
    now = [100.0]
    router = Router("ns", Channel(patience=1.0, clock=lambda: now[0]), Opened)
    slow = router.choose("a1")
    slow.send(None)
    now[0] += 1.0
    assert answered(router.choose("a1"), [b'{"pool":"new","match":[{"glob":"a*"}]}']) == ("new", 1)
    with pytest.raises(StopIteration) as stop:
        slow.send([b'{"pool":"old","match":[{"glob":"a*"}]}'])
    assert stop.value.value.name == "new"
