"""Servers of every kind, by URL or by a client of redis.asyncio."""

from __future__ import annotations

import asyncio
from contextlib import closing
from types import SimpleNamespace

import pytest
import redis
import redis.asyncio
from cryptography.fernet import Fernet

from redispool import Account, ConfigError, SealError
from redispool.asyncio import Account as AsyncAccount
from redispool.asyncio import AccountManager, AccountPool
from tests.topologies import Cluster, SentinelSetup, TlsServer

from .conftest import queue_up


async def hand_over(source, **options):
    """Acquires, waits in line, hands over and releases, with whatever `redis` the pool is given."""
    async with AccountPool(
        [Account("ü", "sécret", max_sessions=2)], redis=source, name="handed-over", **options
    ) as pool:
        await pool.reset()
        await pool.add_account(Account("ü", "sécret", max_sessions=2))
        first, second = await pool.acquire_account(), await pool.acquire_account("ü")
        waiter = await queue_up(pool, timeout=20)
        await first.release()
        got = await asyncio.wait_for(waiter, 10)
        assert got.password == "sécret"
        await got.lease.renew()
        await got.release()
        await second.release()
        status = await pool.status()
        assert (status.free, status.held, status.waiting) == (2, 0, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"decode_responses": True},
        {"protocol": 3, "decode_responses": True},
        {"protocol": 2},
        {"socket_timeout": 0.5},
        {"socket_timeout": None},
        {"single_connection_client": True},
        {"max_connections": 1},
    ],
    ids="-".join,
)
def test_how_a_users_client_is_set_up_does_not_matter_and_it_is_left_open(server, options):
    async def use():
        async with redis.asyncio.Redis(port=server.port, **options) as client:
            await hand_over(client)
            assert await client.ping()

    asyncio.run(use())


def test_a_unix_socket(own_server):
    server = own_server(unixsocket="s.sock")
    asyncio.run(hand_over(f"unix://{server.directory}/s.sock"))


def test_an_embedded_server(tmp_path):
    asyncio.run(hand_over(f"embedded://{tmp_path}/server"))


def test_an_encrypted_connection():
    server = TlsServer()
    try:
        asyncio.run(hand_over(server.url))
    finally:
        server.remove()


def test_a_cluster_by_url_and_by_client():
    cluster = Cluster()

    async def use():
        await hand_over(cluster.url)
        node = cluster.nodes[0]
        async with redis.asyncio.RedisCluster(host="127.0.0.1", port=node.port, decode_responses=True) as client:
            await hand_over(client)
            assert await client.ping()

    try:
        asyncio.run(use())
    finally:
        cluster.remove()


def test_a_primary_that_sentinels_name_and_the_next_one():
    setup = SentinelSetup()

    async def use():
        async with AccountPool([Account("a1")], redis=setup.url, name="watched") as pool:
            held = await pool.acquire_account()
            waiter = await queue_up(pool, timeout=60)
            await asyncio.to_thread(setup.promote)
            await held.release()
            await (await waiter).release()

    try:
        asyncio.run(hand_over(setup.url))
        asyncio.run(use())
    finally:
        setup.remove()


def test_what_is_no_client_of_redis_asyncio_is_refused(server):
    with (
        closing(redis.Redis(port=server.port)) as client,
        pytest.raises(ConfigError, match=r"give one of redis\.asyncio"),
    ):
        AccountPool(redis=client)
    with pytest.raises(ConfigError, match="not int"):
        AccountPool(redis=7)
    with pytest.raises(ConfigError, match="scheme"):
        AccountPool(redis="http://localhost")


def test_the_first_contact_with_a_server_that_is_not_there_raises_at_once():
    with pytest.raises(redis.ConnectionError):
        asyncio.run(asyncio.wait_for(AccountPool(redis="redis://127.0.0.1:1").acquire_account(), 5))


def test_properties_of_the_blocking_pool_are_coroutines(make_pool):
    async def look():
        async with make_pool(3) as pool:
            async with pool.lease("a1"):
                assert [account.name for account in await pool.accounts()] == ["a1", "a2", "a3"]
                assert [account.name for account in await pool.unlocked_accounts()] == ["a2", "a3"]
            assert [account.name async for account in pool] == ["a1", "a2", "a3"]
            assert await pool.n_accounts() == 3
            assert await pool.has_account("a2")
            assert pool

    asyncio.run(look())


def test_accounts_with_coroutines_release_in_the_heritages_manner_and_others_stay_in_no_pool(make_pool):
    async def use():
        member, plain = AsyncAccount("mine", "x"), Account("plain", "y")
        async with make_pool([member, plain]) as pool:
            heard = []
            member.released_event.connect(heard.append)
            await member.acquire()
            assert member.lease.owner
            await member.set_password("new")
            async with member.context():
                assert (await pool.status()).held == 1
            assert heard == [member]
            assert (await pool.acquire_account("mine")).password == "new"
            await member.release()
            plain.acquire()
            plain.release()
            assert (await pool.status()).held == 0

    asyncio.run(use())


def test_an_account_in_no_pool_is_locked_among_the_tasks(make_pool):
    async def use():
        account = AsyncAccount("alone")
        order = []

        async def work(number):
            async with account:
                order.append(number)
                await asyncio.sleep(0)
                order.append(number)

        await asyncio.gather(*(work(number) for number in range(3)))
        assert order == [0, 0, 1, 1, 2, 2]

    asyncio.run(use())


def test_sealed_records_open_with_the_key_only(make_pool):
    key = Fernet.generate_key()

    async def use():
        async with make_pool(1, cipher=key) as pool, make_pool() as stranger:
            async with pool.lease() as account:
                assert account.password == "secret-1"
            with pytest.raises(SealError):
                await stranger.acquire_account()
            assert (await pool.status()).held == 0

    asyncio.run(use())


def test_a_manager_routes_like_the_blocking_one(server, namespace, make_manager):
    async def use():
        async with AccountManager(redis=server.url, namespace=namespace) as manager:
            await manager.add_account(Account("anyone"))
            await manager.pool("lab").add_account(Account("lab"))
            await manager.add_pool("lab", "lab-*")
            account = await manager.acquire_account_for(SimpleNamespace(hostname="lab-1"), "me")
            assert (account.name, account.lease.owner) == ("lab", "me")
            assert await manager.release_accounts("me") == 1
            assert (await manager.get_account_from_hash(account.account_hash)).name == "lab"

    asyncio.run(use())
    blocking = make_manager()
    assert [blocking.acquire_account_for(host).name for host in ("lab-2", "r1")] == ["lab", "anyone"]
