"""With `min_replicas=1` nobody is told of an account before a replica knows of it; replicas are frozen and thawed."""

from __future__ import annotations

import signal
import time

import psutil
import pytest
import redis

from redispool import Account, AccountManager, AccountPool, AcquireTimeout, ConfigError, ReplicationError, connect
from redispool.acl import acl_line
from redispool.protocol.commands import Unreplicated
from tests import faces
from tests.behaviour.conftest import check_at_rest
from tests.conftest import wait_until
from tests.servers import Server
from tests.topologies import Cluster, SentinelSetup, replicate

FACES = pytest.mark.parametrize("face", [AccountPool, faces.Pool], ids=["blocking", "asyncio"])


def freeze(server):
    """Stop a server, which it only is a moment after the signal."""
    server.signal(signal.SIGSTOP)
    wait_until(lambda: psutil.Process(server.process.pid).status() == psutil.STATUS_STOPPED)


class Pair:
    """A primary and its one replica."""

    def __init__(self, primary, replica):
        self.primary, self.replica = primary, replica

    def freeze(self):
        freeze(self.replica)

    def thaw(self):
        self.replica.signal(signal.SIGCONT)


@pytest.fixture(scope="module", params=["valkey", "redis"])
def both(request):
    at_once = {"repl_diskless_sync_delay": "0"}
    primary = Server(request.param, **at_once)
    replica = Server(request.param, replicaof=f"127.0.0.1 {primary.port}", **at_once)
    yield Pair(primary, replica)
    replica.remove()
    primary.remove()


@pytest.fixture
def pair(both):
    replicate(both.primary)
    yield both
    both.thaw()


def open_pool(face, pair, pool_name, accounts=1, **options):
    options = {"min_replicas": 1, **options}
    return face([Account(f"a{n}") for n in range(1, accounts + 1)], name=pool_name, redis=pair.primary.url, **options)


def known_to_replica(pair, pool_name):
    with pair.replica.client() as client:
        return {token.decode() for token in client.hkeys(f"redispool:{{{pool_name}}}:held")}


@FACES
def test_what_was_answered_is_known_to_the_replica(face, pair, pool_name):
    pool = open_pool(face, pair, pool_name, 20)
    handles = []
    for _ in range(5):
        handles += [pool.acquire_account(timeout=5), *pool.acquire_accounts(3, timeout=5)]
        assert {handle.lease.token for handle in handles} <= known_to_replica(pair, pool_name)
    for handle in handles:
        handle.release()


@FACES
def test_no_account_is_given_while_the_replica_is_frozen_and_none_is_held_in_the_end(face, pair, pool_name):
    pool = open_pool(face, pair, pool_name, 2)
    pool.acquire_account().release()
    pair.freeze()
    with pytest.raises(ReplicationError, match="0 of the 1 replicas"):
        pool.acquire_account(timeout=1.5)
    with pytest.raises(ReplicationError):
        pool.acquire_accounts(2, timeout=0)
    assert pool.status().free == 2
    pair.thaw()
    pool.acquire_account(timeout=10).release()


@FACES
def test_who_waits_while_the_replica_is_frozen_is_answered_once_it_goes_on(face, pair, pool_name, start):
    pool = open_pool(face, pair, pool_name)
    pool.acquire_account().release()
    pair.freeze()
    waiter = start(pool.acquire_account, timeout=30)
    wait_until(lambda: pool.status().held == 1)  # the server has given it, and the waiter is not told
    time.sleep(0.7)
    assert not waiter.done()
    pair.thaw()
    handle = waiter.result(10)
    assert handle.lease.token in known_to_replica(pair, pool_name)
    handle.release()


@FACES
def test_a_hand_off_is_told_once_the_replica_knows_of_it(face, pair, pool_name, start):
    pool = open_pool(face, pair, pool_name)
    held = pool.acquire_account()
    waiter = start(pool.acquire_account, timeout=30)
    wait_until(lambda: pool.status().waiting == 1)
    pair.freeze()
    held.release()  # gives the account to the waiter, and needs no replica
    assert pool.status().held == 1
    time.sleep(0.7)
    assert not waiter.done()
    pair.thaw()
    handle = waiter.result(10)
    assert handle.lease.token in known_to_replica(pair, pool_name)
    handle.release()


@FACES
def test_a_lease_is_valid_for_no_longer_than_the_replica_knows(face, pair, pool_name):
    pool = open_pool(face, pair, pool_name, ttl=1.0, patience=2.0)
    handle = pool.acquire_account()
    until = handle.lease.valid_until
    wait_until(lambda: handle.lease.valid_until > until)  # the keeper renews it
    told = []
    handle.lease.lost_event.connect(told.append)
    pair.freeze()
    with pytest.raises(ReplicationError):
        handle.lease.renew(0.9)
    wait_until(lambda: told, 5)  # as what the keeper was answered did not count either
    assert time.monotonic() >= handle.lease.valid_until
    pair.thaw()
    fresh = pool.acquire_account(timeout=10)
    fresh.lease.renew()
    until = fresh.lease.valid_until
    wait_until(lambda: fresh.lease.valid_until > until)
    fresh.release()


@FACES
def test_a_release_and_who_does_not_ask_for_replicas_need_none(face, pair, pool_name):
    pool = open_pool(face, pair, pool_name)
    held = pool.acquire_account()
    pair.freeze()
    held.release()
    careless = face(name=pool_name, redis=pair.primary.url)
    careless.acquire_account(timeout=0).release()


@FACES
def test_a_caller_that_gives_up_while_too_few_replicas_confirm_leaves_nothing(face, pair, pool_name, start):
    pool = open_pool(face, pair, pool_name)
    held = pool.acquire_account()
    waiter = start(pool.acquire_account, timeout=1.0)
    wait_until(lambda: pool.status().waiting == 1)
    pair.freeze()
    assert isinstance(waiter.exception(15), ReplicationError | AcquireTimeout)
    held.release()
    with pair.primary.client() as client:
        check_at_rest(client, "redispool", pool_name)
    assert pool.status().free == 1
    pair.thaw()


def test_a_reply_that_was_lost_is_confirmed_when_it_is_asked_for_again(pair, pool_name):
    """The second request writes nothing, and on its own would wait for nothing."""
    pool = open_pool(AccountPool, pair, pool_name)
    pool.acquire_account().release()
    pair.freeze()
    flow = pool.operations.flows.acquire(pool.operations._request("me", None, 0, {}), 1.5)
    command = next(flow)
    for _ in range(2):
        with pytest.raises(Unreplicated, match="0 of the 1 replicas"):
            pool._wire.perform(command)
        pool._wire._idle.clear()  # the next connection has written nothing
    pair.thaw()
    assert pool._wire.perform(command)[0] == b"granted"
    flow.close()


def test_sentinels_next_primary_knows_every_grant_that_was_answered(pool_name):
    setup = SentinelSetup("valkey")
    try:
        pool = AccountPool([Account(f"a{n}") for n in range(5)], name=pool_name, redis=f"{setup.url}?min_replicas=1")
        tokens = {pool.acquire_account(owner="me", timeout=5).lease.token for _ in range(5)}
        setup.primary.kill()
        with setup.replicas[0].client() as client:
            assert tokens <= {token.decode() for token in client.hkeys(f"redispool:{{{pool_name}}}:held")}
    finally:
        setup.remove()


@FACES
def test_a_cluster_confirms_at_the_node_of_the_pool(face, pool_name):
    cluster = Cluster(replicas=1)
    try:
        pool = face([Account("a1"), Account("a2")], name=pool_name, redis=f"{cluster.url}?min_replicas=1")
        held = pool.acquire_account(timeout=5)
        pool.acquire_account(timeout=5).release()
        held.lease.renew()
        key = f"redispool:{{{pool_name}}}:meta"
        primary = cluster.node_of(key)
        replica = next(one for one in cluster.nodes[3:] if follows(one, primary))
        freeze(replica)
        with pytest.raises(ReplicationError):
            pool.acquire_account(timeout=1)
        replica.signal(signal.SIGCONT)
        pool.acquire_account(timeout=10).release()
        cluster.move(key, next(node for node in cluster.nodes[:3] if node is not primary))
        pool.acquire_account(timeout=10).release()  # by a client that still asks the old node
        held.release()
        assert pool.status().free == 2
    finally:
        cluster.remove()


def follows(replica, primary):
    with replica.client() as client:
        return client.execute_command("ROLE")[2] == primary.port


def test_a_worker_may_wait_for_replicas(pair, pool_name):
    open_pool(AccountPool, pair, pool_name)
    with pair.primary.client() as client:
        client.execute_command(*acl_line("worker", pool_name, user="wo", password="pw").split())
    url = f"redis://wo:pw@127.0.0.1:{pair.primary.port}/0"
    AccountPool(name=pool_name, redis=url, min_replicas=1).acquire_account(timeout=5).release()


@FACES
def test_a_worker_that_may_not_wait_is_told_so_and_holds_nothing(face, pair, pool_name):
    direct = open_pool(AccountPool, pair, pool_name)
    with pair.primary.client() as client:
        client.execute_command(*acl_line("worker", pool_name, user="old", password="pw").split())
        client.execute_command("ACL", "SETUSER", "old", "-wait")
    url = f"redis://old:pw@127.0.0.1:{pair.primary.port}/0"
    with pytest.raises(redis.exceptions.NoPermissionError):
        face(name=pool_name, redis=url, min_replicas=1).acquire_account(timeout=0.5)
    assert direct.status().held == 0


@FACES
def test_a_reservation_needs_no_replica(face, pair, pool_name):
    pool = open_pool(face, pair, pool_name)
    pool.acquire_account().release()
    pair.freeze()
    pool.reserve("a1", "me", time.time() + 60)
    assert [lease.owner for lease in pool.status().leases] == ["me"]
    assert pool.release("a1", "me") == 1


@FACES
def test_without_replicas_asked_for_no_more_is_sent_than_ever(face, own_server, pool_name):
    server = own_server()
    pool = face([Account("a1")], name=pool_name, redis=server.url)
    pool.acquire_account().release()
    with server.client() as client:
        client.config_resetstat()
        pool.acquire_account().release()
        sent = client.info("commandstats")
    assert sent["cmdstat_evalsha"]["calls"] == 2
    assert "cmdstat_wait" not in sent


def test_replicas_may_be_asked_for_by_the_url_the_client_the_pool_or_the_manager(pair, pool_name):
    def asks(pool):
        replication = pool.operations.flows.channel.replication
        return replication.replicas if replication else 0

    url = pair.primary.url
    assert asks(AccountPool(name=pool_name, redis=f"{url}?min_replicas=2")) == 2
    assert asks(faces.Pool(name=pool_name, redis=f"{url}?min_replicas=2")) == 2
    assert asks(AccountPool(name=pool_name, redis=connect(f"{url}?min_replicas=2"))) == 2
    assert asks(AccountPool(name=pool_name, redis=connect(url, min_replicas=2))) == 2
    assert asks(AccountPool(name=pool_name, redis=connect(url, min_replicas=2), min_replicas=0)) == 0
    assert asks(AccountPool(name=pool_name, redis=redis.Redis(port=pair.primary.port), min_replicas=2)) == 2
    assert asks(AccountManager(redis=url, min_replicas=2).pool(pool_name)) == 2
    assert asks(AccountManager(redis=f"{url}?min_replicas=2").pool(pool_name)) == 2
    assert asks(AccountPool(name=pool_name, redis=url)) == 0


@pytest.mark.parametrize("value", [-1, 1.5, "1", True, 1001])
def test_a_number_of_replicas_that_makes_no_sense_is_refused(pair, value):
    for open_it in (AccountPool, faces.Pool):
        with pytest.raises(ConfigError, match="min_replicas must be a whole number from 0 to 1000"):
            open_it(name="x", redis=pair.primary.url, min_replicas=value)
    with pytest.raises(ConfigError, match="min_replicas"):
        connect(pair.primary.url, min_replicas=value)


@pytest.mark.parametrize("text", ["-1", "one", "", "9999"])
def test_a_url_with_a_number_of_replicas_that_makes_no_sense_is_refused(text):
    with pytest.raises(ConfigError, match="min_replicas"):
        connect(f"redis://h?min_replicas={text}")


def test_an_embedded_server_has_no_replicas(tmp_path):
    with pytest.raises(ConfigError, match="min_replicas= is unknown here"):
        connect(f"embedded://{tmp_path}/s?min_replicas=1")
