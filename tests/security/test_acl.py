"""Least power: each role on a real server, logged in, doing all that it must and nothing else."""

from __future__ import annotations

import hashlib
import re
import threading

import pytest
import redis

from redispool import Account, AccountManager, AccountPool, AcquireTimeout, ConfigError
from redispool.acl import ROLES, acl_line, acl_rules
from redispool.protocol import scripts
from redispool.protocol.keys import PoolKeys
from tests.conftest import wait_until

PASSWORD = "let-me-in"
REFUSED = "(?i)permissions|can't run this command|can't access at least one of|may not administer|not allowed from"


@pytest.fixture
def log_in(client, server, pool_name):
    """The URL of a user who has just been given a role."""
    users = []

    def as_role(role, **options):
        user = f"{pool_name}-{role}"
        client.execute_command(*acl_line(role, pool_name, user=user, password=PASSWORD, **options).split())
        users.append(user)
        return f"redis://{user}:{PASSWORD}@127.0.0.1:{server.port}/0"

    yield as_role
    for user in users:
        client.execute_command("ACL", "DELUSER", user)


@pytest.fixture
def pool(make_pool):
    """The test's pool, for the one who may do everything."""
    return make_pool(2)


@pytest.fixture
def worker(pool, log_in, pool_name):
    return AccountPool(name=pool_name, redis=log_in("worker"), ttl=0.5)


def snapshot(client, pool_name):
    return {key: client.dump(key) for key in client.scan_iter(f"redispool:{{{pool_name}}}*")}


def refused(attempt):
    with pytest.raises(redis.ResponseError, match=REFUSED):
        attempt()


def test_a_worker_acquires_waits_is_handed_over_and_releases(worker, pool):
    held = [worker.acquire_account(owner="me", timeout=0) for _ in range(2)]
    got = []
    waiter = threading.Thread(target=lambda: got.append(worker.acquire_account(timeout=10)))
    waiter.start()
    wait_until(lambda: pool.status().waiting == 1)
    held[0].release()
    waiter.join()
    assert got[0].get_password() == f"secret-{got[0].name[1:]}"
    got[0].release()
    assert worker.release_accounts("me") == 1
    assert pool.status().free == 2


def test_a_worker_times_out_renews_and_takes_what_expired(worker, pool):
    lazy = AccountPool(name=worker.name, redis=pool._wire.client, ttl=0.2, auto_renew=False)
    for _ in range(2):
        lazy.acquire_account(owner="me", timeout=0)
    with pytest.raises(AcquireTimeout):
        worker.acquire_account(timeout=0.01)
    account = worker.acquire_account(timeout=5)
    account.lease.renew(5.0)
    assert account.lease.expires_at - account.lease.acquired_at > 1
    account.release(cooldown=0.05)
    assert pool.status().waiting == 0


def test_a_worker_chooses_by_labels_takes_several_and_reports_health(worker, pool):
    pool.add_account([Account("e1", "x", labels={"site": "east"}, max_sessions=2), Account("n", needs_lock=False)])
    pool.configure(max_failures=1, max_per_owner=5, max_rate=1000, history_age=60.0)
    with worker.lease(labels={"site": "east"}, prefer=True) as account:
        assert account.name == "e1"
    for account in worker.acquire_accounts(2):
        account.release()
    with worker.lease("a1") as account:
        account.mark_bad("401")
    assert pool.status().quarantined == 1
    assert worker.acquire_account("n").lease is None


def test_a_manager_of_a_worker_routes_by_the_shared_rules(log_in, make_pool, pool_name, server, client):
    with_rules = AccountManager(redis=server.url)
    with_rules.add_pool(make_pool(1), match=f"{pool_name}-*")
    manager = AccountManager(redis=log_in("worker"))
    manager.acquire_account_for(f"{pool_name}-7").release()
    refused(lambda: manager.add_pool(manager.pool(pool_name), match="mine-*"))
    with_rules.reset()


ADMINISTERING = {
    "add": lambda pool: pool.add_account(Account("a9")),
    "update": lambda pool: pool.add_account(Account("a1", "other")),
    "remove": lambda pool: pool.remove_account("a1"),
    "reset": lambda pool: pool.reset(),
    "configure": lambda pool: pool.configure(cooldown=1),
    "quarantine": lambda pool: pool.quarantine("a1"),
    "restore": lambda pool: pool.restore("a1"),
    "reserve": lambda pool: pool.reserve("a1", "bob", 4_000_000_000.0),
    "force": lambda pool: pool.release("a1", force=True),
    "rename": lambda pool: pool.get_account_from_name("a1").set_name("b1"),
    "password": lambda pool: pool.get_account_from_name("a1").set_password("other"),
}


@pytest.mark.parametrize("what", ADMINISTERING)
def test_a_worker_administers_nothing_and_leaves_nothing_half_done(worker, pool, client, pool_name, what):
    held = pool.acquire_account("a1", owner="bob")
    before = snapshot(client, pool_name)
    refused(lambda: ADMINISTERING[what](worker))
    assert snapshot(client, pool_name) == before
    held.release()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "words",
    [
        "KEYS *", "SCAN 0", "FLUSHALL", "FLUSHDB", "CONFIG GET *", "SCRIPT FLUSH", "SCRIPT LOAD x", "FUNCTION LIST",
        "ACL LIST", "MONITOR", "SLOWLOG GET", "CLIENT LIST", "SAVE", "SHUTDOWN", "SUBSCRIBE x",
        "GET {other}", "HGETALL redispool:{other}:accounts", "HSET redispool:{other}:accounts a b",
        "BLPOP redispool:{other}:mail:x 1", "DUMP redispool:{other}:accounts",
    ],
)  # fmt: skip
def test_no_role_reaches_beyond_its_pool(log_in, pool, client, role, words):
    with redis.Redis.from_url(log_in(role)) as user:
        user.ping()
        refused(lambda: user.execute_command(*words.split()))
        refused(lambda: user.eval(f"return redis.call({', '.join(map(repr, words.split()))})", 0))


def test_no_script_of_a_workers_own_writes_a_record_or_a_member(log_in, pool, client, pool_name):
    keys = PoolKeys("redispool", pool_name)
    before = snapshot(client, pool_name)
    with redis.Redis.from_url(log_in("worker")) as user:
        for attempt in (
            f"redis.call('HSET', '{keys.accounts}', 'a1', '1\\n{{}}')", f"redis.call('DEL', '{keys.accounts}')",
            f"redis.call('RPUSH', 'redispool:{{{pool_name}}}:members', 'a9')",
            "redis.call('SADD', 'redispool:pools', 'x')",
        ):  # fmt: skip
            refused(lambda attempt=attempt: user.eval(attempt, 0))
    assert snapshot(client, pool_name) == before


def test_a_reader_sees_status_waiters_and_history_and_no_credentials(log_in, pool, client, pool_name):
    expired = AccountPool(name=pool_name, redis=pool._wire.client, ttl=0.05, auto_renew=False)
    expired.acquire_account(owner="late")
    reader = AccountPool(name=pool_name, redis=log_in("reader"))
    wait_until(lambda: client.pttl(f"redispool:{{{pool_name}}}:lock:a1") == -2)
    before = snapshot(client, pool_name)
    assert (reader.status().accounts, reader.status().held, reader.waiting(), len(reader)) == (2, 1, [], 2)
    assert "granted" in [event.event for event in reader.history()]
    for attempt in (
        lambda: reader.get_account_from_name("a1"), lambda: reader.acquire_account(timeout=0), lambda: reader.accounts,
        lambda: client_of(reader).hget(PoolKeys("redispool", pool_name).accounts, "a1"),
        lambda: client_of(reader).lrange(f"redispool:{{{pool_name}}}:mail:x", 0, -1),
        lambda: client_of(reader).hset(f"redispool:{{{pool_name}}}:meta", "fence", "1"),
    ):  # fmt: skip
        refused(attempt)
    assert snapshot(client, pool_name) == before
    pool.quarantine("a2", "why not")
    assert reader.status().quarantine[0].reason == "why not"


def client_of(pool):
    return pool._wire.client


def test_an_admin_does_all_that_a_pool_can_and_the_trail_names_him(log_in, pool, pool_name):
    admin = AccountPool(name=pool_name, redis=log_in("admin"))
    admin.add_account([Account(f"b{number}") for number in range(3)])
    admin.configure(cooldown=0.001, history_age=3600.0)
    admin.quarantine("b1")
    admin.restore("b1")
    admin.reserve("b2", "bob", 4_000_000_000.0)
    admin.release("b2", force=True)
    admin.get_account_from_name("b0").set_name("c0")
    admin.remove_account("c0")
    with admin.lease(labels=None):
        pass
    assert admin.audit() is not None
    admin.reset()
    done = {event.event for event in pool.history(limit=1000) if event.owner.startswith(f"{pool_name}-admin@")}
    assert done >= {"added", "configured", "quarantined", "restored", "reserved", "renamed", "removed", "reset"}


@pytest.mark.parametrize("name", ["a*b", "we?ird", "[x]", "back\\slash", "two words", "quo\"te's", "äö", "tab-less"])
def test_any_name_of_a_pool_makes_a_line_that_the_server_takes_and_that_fits_that_pool(client, server, name):
    AccountPool(Account("a1", "x"), name=name, redis=server.url)
    AccountPool(Account("a1", "x"), name="axxb", redis=server.url)
    client.execute_command(*acl_line("worker", name, user="odd", password=PASSWORD).split(" "))
    url = f"redis://odd:{PASSWORD}@127.0.0.1:{server.port}/0"
    AccountPool(name=name, redis=url).acquire_account(timeout=0).release()
    refused(lambda: AccountPool(name="axxb", redis=url).acquire_account(timeout=0))
    client.execute_command("ACL", "DELUSER", "odd")


def test_the_line_shows_a_hash_and_never_the_password():
    line = acl_line("worker", "lab", password=PASSWORD)
    assert PASSWORD not in line
    assert f"#{hashlib.sha256(PASSWORD.encode()).hexdigest()}" in line
    assert line.startswith("ACL SETUSER lab-worker on resetpass #")
    assert "#" not in acl_line("worker", "lab")


@pytest.mark.parametrize(
    "arguments", [("boss", "lab"), ("worker", ""), ("worker", "a{b}"), ("worker", "lab", "n{s}")], ids=str
)
def test_what_makes_no_sense_is_refused(arguments):
    with pytest.raises(ConfigError):
        acl_rules(*arguments)


@pytest.mark.parametrize("user", ["", "two words", 'quo"te', "tab\there"])
def test_a_user_name_that_no_line_can_have_is_refused(user):
    with pytest.raises(ConfigError):
        acl_line("worker", "lab", user=user)


def called(*those):
    return {word.lower() for script in those for word in re.findall(r"\bp?call\('(\w+)'", script.text)}


def test_each_role_may_use_the_commands_that_its_scripts_call_and_few_others():
    everything = [script for script in vars(scripts).values() if isinstance(script, scripts.Script)]
    work = [
        scripts.ACQUIRE, scripts.ATTEND, scripts.CANCEL, scripts.CHOOSE, scripts.HEALTH, scripts.INSPECT,
        scripts.LOOKUP, scripts.NAMES, scripts.OWNED, scripts.RELEASE, scripts.RENEW, scripts.WAITING,
    ]  # fmt: skip
    sent = {
        "blpop",
        "eval",
        "evalsha",
        "ping",
        "xrevrange",
        "xrange",
        "xread",
        "wait",
        "xtrim",
        "zcard",
        "hgetall",
        "smembers",
        "zscan",
    }
    worker, admin = (set(ROLES[role].commands.split()) for role in ("worker", "admin"))
    assert called(*work) - worker == set()
    assert called(*everything) - admin == set()
    assert worker - called(*work) - sent == set()
    assert admin - called(*everything) - sent == set()
