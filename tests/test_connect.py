import asyncio
import contextlib
import copy
import os
import socket
import threading

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.cache import CacheConfig
from redis.credentials import UsernamePasswordCredentialProvider
from redis.retry import Retry

import redispool.asyncio
from redispool import Account, AccountPool, AcquireTimeout, ConfigError, connect
from redispool.connect import client_from, private_client, slice_seconds

from .conftest import wait_until
from .servers import BINARIES, free_port
from .topologies import AuthServer, Cluster, SentinelSetup, TlsServer, issue_certificate, replicate

needs_redis = pytest.mark.skipif(BINARIES["redis"] is None, reason="redis-server is not installed")


def hand_over(pool):
    """One account, and two who want it: the second waits, and gets it when the first gives it back."""
    pool.add_account(Account("only", "secret"))
    first = pool.acquire_account(timeout=5)
    second = []
    waiter = threading.Thread(target=lambda: second.append(pool.acquire_account(timeout=30)))
    waiter.start()
    wait_until(lambda: pool.status().waiting == 1)
    first.release()
    waiter.join()
    assert second[0].get_password() == "secret"
    assert second[0].lease.fence > 0
    second[0].release()
    assert pool.status().free == 1


# -- from a URL ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scheme", ["redis://localhost:{}", "rediss://localhost:{}/1", "unix:///run/none-{}", "redis+sentinel://h:{}/s"]
)
def test_a_client_is_made_without_a_connection(scheme):
    client = connect(scheme.format(free_port()))
    assert isinstance(client, redis.Redis)
    assert client.connection_pool._created_connections == 0


def test_without_a_url_the_environment_says_where(monkeypatch):
    monkeypatch.setenv("REDISPOOL_URL", "redis://elsewhere:7000/3")
    settings = connect().connection_pool.connection_kwargs
    assert (settings["host"], settings["port"], settings["db"]) == ("elsewhere", 7000, 3)
    monkeypatch.setenv("REDISPOOL_URL", "redis://elsewhere:seventhousand")
    with pytest.raises(ConfigError, match="REDISPOOL_URL"):
        connect()
    monkeypatch.delenv("REDISPOOL_URL")
    settings = connect().connection_pool.connection_kwargs
    assert (settings["host"], settings["port"], settings["db"]) == ("localhost", 6379, 0)


@pytest.mark.parametrize("value", [42, b"redis://localhost", object(), ["redis://localhost"], redis.Redis, True])
def test_what_is_no_url_and_no_client_is_refused(value):
    with pytest.raises(ConfigError, match="redis must be a URL"):
        AccountPool(redis=value)


def test_a_client_for_asyncio_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"redispool\.asyncio"):
        client_from(redis.asyncio.Redis())


@pytest.mark.parametrize("url", ["redis://:sesame@localhost:1", "redis+cluster://:sesame@localhost:1"])
def test_a_server_that_cannot_be_reached_is_said_at_once_and_without_the_password(url):
    with pytest.raises((redis.ConnectionError, redis.exceptions.RedisClusterException)) as caught:
        AccountPool(Account("a"), name="p", redis=url)
    assert "sesame" not in str(caught.value)


# -- beside a user's client ------------------------------------------------------------------------------------------


class LoudConnection(redis.Connection):
    made = 0

    def __init__(self, **settings):
        type(self).made += 1
        super().__init__(**settings)


USERS = {
    "plain": {},
    "text": {"decode_responses": True},
    "resp3": {"protocol": 3, "decode_responses": True},
    "cached": {"protocol": 3, "cache_config": CacheConfig()},
    "latin": {"encoding": "latin-1"},
    "hasty": {"socket_timeout": 0.2, "socket_connect_timeout": 0.2},
    "patient": {"socket_timeout": None},
    "stubborn": {"retry": Retry(ConstantBackoff(1), 100), "retry_on_error": [redis.ConnectionError]},
    "single": {"single_connection_client": True},
    "checking": {"health_check_interval": 1},
}


@pytest.mark.parametrize("options", USERS.values(), ids=USERS)
def test_any_client_of_the_user_s_serves_and_stays_as_it_was(server, pool_name, options):
    with server.client(**options) as client:
        before = copy.copy(client.connection_pool.connection_kwargs)
        created = client.connection_pool._created_connections
        hand_over(AccountPool(name=pool_name + "-ü", redis=client))
        assert client.connection_pool.connection_kwargs == before
        assert client.connection_pool._created_connections == created


def test_a_pool_of_one_connection_does_not_keep_the_releaser_out(server, pool_name):
    connections = redis.BlockingConnectionPool(port=server.port, max_connections=1, timeout=0.2)
    hand_over(AccountPool(name=pool_name, redis=redis.Redis(connection_pool=connections)))


def test_a_class_of_connections_is_kept(server, pool_name):
    connections = redis.ConnectionPool(LoudConnection, port=server.port)
    hand_over(AccountPool(name=pool_name, redis=redis.Redis(connection_pool=connections)))
    assert LoudConnection.made > 1


@pytest.fixture
def guarded():
    running = AuthServer("valkey", requirepass="sesame")
    yield running
    running.remove()


def test_a_database_and_credentials_are_kept(guarded, pool_name):
    provider = UsernamePasswordCredentialProvider("default", "sesame")
    for login in ({"password": "sesame"}, {"credential_provider": provider}):
        client = redis.Redis(port=guarded.port, db=3, **login)
        hand_over(AccountPool(name=pool_name, redis=client))
    hand_over(AccountPool(name=pool_name, redis=f"redis://:sesame@127.0.0.1:{guarded.port}/3"))
    with guarded.client(db=0) as elsewhere, guarded.client(db=3) as here:
        assert elsewhere.dbsize() == 0
        assert here.dbsize() > 0
    with pytest.raises(redis.AuthenticationError):
        AccountPool(Account("a"), name=pool_name, redis=f"redis://:wrong@127.0.0.1:{guarded.port}/3")


def test_a_unix_socket_serves(own_server, pool_name, tmp_path):
    path = tmp_path / "our sock"
    own_server("valkey", unixsocket=str(path))
    hand_over(AccountPool(name=pool_name, redis=redis.Redis(unix_socket_path=str(path))))
    hand_over(AccountPool(name=pool_name, redis=f"unix://{path}?db=1"))


def test_fakeredis_serves_the_quick_tests_of_users(pool_name):
    fakeredis = pytest.importorskip("fakeredis")
    pytest.importorskip("lupa", reason="fakeredis runs scripts with lupa")
    hand_over(AccountPool(name=pool_name, redis=fakeredis.FakeRedis()))


@contextlib.contextmanager
def deaf_server(*, hang_up):
    """Listens, and never answers; its port, and a list of those who called."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen, kept = [], []

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connection, peer = listener.accept()
                    kept.append(connection)
                    if hang_up:
                        connection.close()
                    seen.append(peer)

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], seen
        listener.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


def test_a_connection_that_swallows_everything_is_given_up():
    with deaf_server(hang_up=False) as (port, _), pytest.raises(redis.TimeoutError):
        AccountPool(Account("a"), name="p", redis=redis.Redis(port=port, socket_timeout=None))


def test_redis_py_does_not_retry_for_us():
    with deaf_server(hang_up=True) as (port, seen):
        client = redis.Redis(port=port, retry=Retry(ConstantBackoff(0.01), 9))
        with pytest.raises(redis.ConnectionError):
            private_client(client).ping()
        with socket.create_connection(("127.0.0.1", port)) as last:
            wait_until(lambda: seen and seen[-1] == last.getsockname())
        assert len(seen) <= 3  # it may look twice whether a connection is sound


@pytest.mark.parametrize("timeout", [None, 0.01, 0.2, 1, 3, 5, 60])
def test_a_slice_is_well_below_the_timeout_whatever_that_is(timeout):
    own = private_client(redis.Redis(socket_timeout=timeout))
    limit = own.connection_pool.connection_kwargs["socket_timeout"]
    assert limit - slice_seconds(own) >= 0.5
    assert limit <= 5
    hurried = private_client(own, socket_timeout=1.0)
    assert hurried.connection_pool.connection_kwargs["socket_timeout"] == 1.0


def test_parent_and_child_use_the_pool_after_a_fork(server, pool_name):
    pool = AccountPool([Account("a"), Account("b")], name=pool_name, redis=server.url)
    pool.acquire_account().release()
    child = os.fork()
    if not child:
        status = 1
        try:
            for _ in range(200):
                pool.acquire_account(timeout=10).release()
            status = 0
        finally:
            os._exit(status)
    for _ in range(200):
        pool.acquire_account(timeout=10).release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.status().free == 2


# -- a cluster -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    running = Cluster(replicas=1, requirepass="sesame")
    yield running
    running.remove()


@pytest.mark.parametrize("options", [{}, {"decode_responses": True}, {"protocol": 3, "decode_responses": True}])
def test_a_cluster_serves_whatever_its_client_makes_of_replies(cluster, pool_name, options):
    with cluster.client(**options) as client:
        hand_over(AccountPool(name=pool_name, redis=client))
        assert client.ping()


def test_a_cluster_s_url_serves(cluster, pool_name):
    hand_over(AccountPool(name=pool_name, redis=cluster.url))
    dead = f"redis+cluster://:sesame@127.0.0.1:{free_port()},127.0.0.1:{cluster.nodes[0].port}"
    hand_over(AccountPool(name=pool_name, redis=dead))


def test_a_cluster_client_from_redis_py_s_own_url_serves(cluster, pool_name):
    with redis.RedisCluster.from_url(f"redis://:sesame@127.0.0.1:{cluster.nodes[0].port}") as client:
        hand_over(AccountPool(name=pool_name, redis=client))


def test_what_a_cluster_tells_of_a_pool_is_read_like_what_any_server_does(cluster, pool_name):
    pool = AccountPool([Account("only"), Account("broken")], name=pool_name, redis=cluster.url)
    pool.quarantine("broken", "it is")
    with pool.lease("only", timeout=5), pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    events = ["released", "granted", "quarantined", "added", "added"]
    assert [one.event for one in pool.history()] == events
    assert [one.account for one in pool.status().quarantine] == ["broken"]
    assert pool.waiting() == []
    assert pool.audit() == []

    async def look():
        async with redispool.asyncio.AccountPool(name=pool_name, redis=cluster.url) as same:
            assert [one.event for one in await same.history()] == events
            assert [one.account for one in (await same.status()).quarantine] == ["broken"]
            assert await same.audit() == []

    asyncio.run(look())


def test_who_waits_follows_the_pool_to_another_node(cluster, pool_name):
    pool = AccountPool(Account("only"), name=pool_name, redis=cluster.url)
    held = pool.acquire_account(timeout=5)
    got = []
    waiter = threading.Thread(target=lambda: got.append(pool.acquire_account(timeout=30)))
    waiter.start()
    wait_until(lambda: pool.status().waiting == 1)
    key = f"redispool:{{{pool_name}}}:meta"
    source = cluster.node_of(key)
    cluster.move(key, next(node for node in cluster.nodes if node is not source))
    held.release()
    waiter.join()
    got[0].release()
    assert pool.status().free == 1
    assert cluster.node_of(key) is not source


def test_who_waits_rides_out_the_death_of_a_node(cluster, pool_name):
    pool = AccountPool(Account("only"), name=pool_name, redis=cluster.url)
    held = pool.acquire_account(timeout=5)
    got = []
    waiter = threading.Thread(target=lambda: got.append(pool.acquire_account(timeout=60)))
    waiter.start()
    wait_until(lambda: pool.status().waiting == 1)
    node = cluster.node_of(f"{{{pool_name}}}")
    replicate(node, f"{{{pool_name}}}")
    cluster.kill(node)
    held.release()
    waiter.join()
    got[0].release()
    assert pool.status().free == 1


# -- sentinels -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sentinels():
    running = SentinelSetup(password="sesame", sentinel_password="poppy")
    yield running
    running.remove()


@needs_redis
def test_a_sentinel_s_url_serves_and_follows_the_primary(sentinels, pool_name):
    pool = AccountPool(name=pool_name, redis=sentinels.url)
    hand_over(pool)
    users = sentinels.sentinel_client(decode_responses=True, protocol=3, socket_timeout=0.5)
    hand_over(AccountPool(name=pool_name, redis=users.master_for(sentinels.SERVICE)))
    sentinels.promote()
    held = pool.acquire_account(timeout=30)
    assert held.get_password() == "secret"
    held.release()


def test_a_client_of_replicas_is_refused():
    users = redis.Sentinel([("127.0.0.1", free_port())])
    with pytest.raises(ConfigError, match="master_for"):
        AccountPool(redis=users.slave_for("accounts"))


def test_an_unknown_service_is_redis_py_s_error():
    with pytest.raises(redis.sentinel.MasterNotFoundError):
        AccountPool(Account("a"), name="p", redis=f"redis+sentinel://127.0.0.1:{free_port()}/accounts")


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls():
    running = TlsServer("localhost")
    yield running
    running.remove()


@needs_redis
def test_tls_serves_who_knows_the_authority_and_has_a_certificate(tls, pool_name):
    hand_over(AccountPool(name=pool_name, redis=f"rediss://localhost:{tls.tls_port}/0?{tls.tls_query}"))
    files = dict(part.split("=") for part in tls.tls_query.split("&"))
    with redis.Redis(port=int(tls.tls_port), ssl=True, **files) as client:
        hand_over(AccountPool(name=pool_name, redis=client))


@needs_redis
@pytest.mark.parametrize("who", ["nobody", "a stranger"])
def test_tls_refuses_who_has_no_certificate_of_the_authority(tls, tmp_path, who):
    stranger = issue_certificate(tmp_path, "strange-ca", None)
    issue_certificate(tmp_path, "stranger", stranger)
    query = f"ssl_ca_certs={tls.certificates}/ca.pem"
    if who == "a stranger":
        query += f"&ssl_certfile={tmp_path}/stranger.pem&ssl_keyfile={tmp_path}/stranger.key"
    with pytest.raises(redis.ConnectionError):
        AccountPool(Account("a"), name="p", redis=f"rediss://localhost:{tls.tls_port}/0?{query}")


@needs_redis
def test_tls_refuses_a_server_whose_certificate_has_expired():
    tls = TlsServer("localhost", valid_days=-1)
    try:
        with pytest.raises(redis.ConnectionError, match="certificate has expired"):
            AccountPool(Account("a"), name="p", redis=f"rediss://localhost:{tls.tls_port}/0?{tls.tls_query}")
    finally:
        tls.remove()


@needs_redis
def test_tls_refuses_a_server_under_another_name_or_of_an_unknown_authority(tls):
    for url in (
        f"rediss://127.0.0.1:{tls.tls_port}/0?{tls.tls_query}",
        f"rediss://localhost:{tls.tls_port}/0?{tls.tls_query.partition('&')[2]}",
    ):
        with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
            AccountPool(Account("a"), name="p", redis=url)
