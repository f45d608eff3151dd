"""Secrets are planted, all goes wrong that can, and nothing that anybody can read shows them."""

from __future__ import annotations

import ast
import asyncio
import io
import logging
import pickle
import re
import subprocess
import threading
import traceback
from pathlib import Path

import pytest
import redis
from cryptography.fernet import Fernet
from rich.console import Console
from rich.traceback import Traceback

import redispool
import redispool.asyncio
from redispool import Account, AccountPool, AcquireTimeout, PrivateKey, RedispoolError
from redispool.protocol import scripts
from redispool.protocol.commands import Call, Plain
from redispool.protocol.keys import PoolKeys
from redispool.protocol.records import encode
from redispool.protocol.requests import read_grant
from redispool.sealing import FernetSeal
from tests.conftest import wait_until

KEY, OTHER = (Fernet.generate_key().decode() for _ in range(2))
PLANTED = ("hunter2-password", "hunter2-authorization", "hunter2-key-text", "hunter2-key-password", "hunter2-new")
SECRETS = (*PLANTED, KEY, OTHER)
SERVER_PASSWORD = "hunter2-server"
SOURCE = Path(redispool.__file__).parent


def planted(name="a1"):
    key = PrivateKey.restore("rsa", None, PLANTED[3], PLANTED[2])
    return Account(name, PLANTED[0], PLANTED[1], key)


def shows(text):
    return [secret for secret in (*SECRETS, SERVER_PASSWORD) if secret in str(text)]


def in_tracebacks(error):
    """What Python, and rich with local variables, print of an error and of those it came from; our frames only."""
    own = error.__traceback__.tb_next  # the test's own frame knows the secrets
    while own is not None and "/tests/" in own.tb_frame.f_code.co_filename:
        own = own.tb_next
    printed = io.StringIO()
    rich = Traceback.from_exception(
        type(error), error, own, show_locals=True, locals_max_string=None, locals_max_length=99
    )
    Console(file=printed, width=300).print(rich)
    chain = "".join(traceback.format_exception(type(error), error, own, chain=True))
    context, seen = "", error.__context__
    while seen is not None:
        context += repr(seen)
        seen = seen.__context__
    return re.sub(r"\s*\n\s*", "", printed.getvalue()) + printed.getvalue() + chain + context


@pytest.fixture
def sealed(make_pool):
    return make_pool([planted()], cipher=[KEY, OTHER])


# -- text that we make -------------------------------------------------------------------------------------------


def test_no_text_of_an_object_shows_a_secret(sealed):
    with sealed.lease() as held:
        record = b"1\n" + b'{"password":"hunter2-password"}'
        grant = read_grant(b"granted\nt\na1\n1\n1\n9\n" + record, 0.0, 1)
        objects = [
            planted(), held, held.lease, held.get_key(), planted().context(), sealed, sealed.status(), sealed.waiting(),
            sealed.history(), FernetSeal([KEY]), FernetSeal([KEY])._ring, sealed._wire, sealed.operations, grant,
            Call(scripts.ADD, "k", ("a1", record)), Plain(("SET", "k", record)), list(sealed), vars(sealed),
        ]  # fmt: skip
        for one in objects:
            texts = (repr(one), str(one), format(one), f"{one}", f"{one!r}", f"{[one]}")
            assert [shows(text) for text in texts] == [[]] * 6, type(one)


def test_what_is_pickled_to_a_log_record_carries_no_more_than_its_text(sealed, caplog):
    with caplog.at_level(logging.DEBUG, "redispool"), sealed.lease() as held:
        logging.getLogger("redispool").warning("got %r of %r: %s", held, sealed, held.lease)
    assert shows([record.getMessage() for record in caplog.records]) == []
    assert shows(pickle.dumps(sealed.status())) == []


# -- errors ------------------------------------------------------------------------------------------------------


def wrong(pool, client, keys, make_pool):
    """What goes wrong, by name; each raises."""
    name = keys.pool
    accounts = keys.accounts

    def spoiled(record, act):
        before = client.hget(accounts, "a1")
        client.hset(accounts, "a1", record)
        try:
            act()
        finally:
            client.hset(accounts, "a1", before)

    def body(text):
        return b"1\n" + FernetSeal([KEY]).close(text, f"{name}\na1")

    def in_a_block():
        with pool.lease() as account:
            raise OSError(account.name)

    def take():
        return pool.acquire_account(timeout=0)

    yield "no key", lambda: make_pool().acquire_account(timeout=0)
    yield "no key to look", lambda: make_pool().get_account_from_name("a1")
    yield "another key", lambda: make_pool(cipher=Fernet.generate_key()).acquire_account(timeout=0)
    yield "another key to look", lambda: make_pool(cipher=Fernet.generate_key()).accounts
    yield "not JSON", lambda: spoiled(body(b"{hunter2-password"), take)
    yield "not a record", lambda: spoiled(body(b'{"password":["hunter2-password"]}'), take)
    yield "not a record, nor sealed", lambda: spoiled(b'1\n{"password":["hunter2-password"]}', take)
    yield "a bad key", lambda: spoiled(body(b'{"password":"x","key":{"type":"hunter2-key-text"}}'), take)
    yield "moved", lambda: spoiled(b"1\n" + FernetSeal([KEY]).close(b"hunter2-password", f"{name}\nb1"), take)
    yield "the block's own", in_a_block
    yield "unknown", lambda: pool.get_account_from_name("a1").set_name("a2") or pool.acquire_account("a1")
    yield "a wrong argument", lambda: pool.acquire_account(priority="high")


NAMES = [name for name, _ in wrong(None, None, PoolKeys("n", "p"), None)]


@pytest.mark.parametrize("what", NAMES)
def test_no_error_shows_a_secret_in_its_text_its_chain_or_its_local_variables(
    sealed, client, make_pool, pool_name, what
):
    with pytest.raises(Exception) as caught:
        dict(wrong(sealed, client, PoolKeys("redispool", pool_name), make_pool))[what]()
    assert shows(in_tracebacks(caught.value)) == []


def error_of(attempt, kind):
    with pytest.raises(kind) as caught:
        attempt()
    return caught.value


def test_no_error_of_a_write_shows_a_secret(own_server):
    server = own_server()
    pool = AccountPool([planted()], name="lab", redis=server.url, cipher=KEY, patience=0.1)
    account = pool.get_account_from_name("a1")
    with server.client() as client:
        client.config_set("maxmemory", "1")
        client.config_set("maxmemory-policy", "noeviction")
    writes = (
        lambda: account.set_password(PLANTED[4]), lambda: account.set_authorization_password(PLANTED[4]),
        lambda: pool.add_account(planted("a2")), pool.reseal,
    )  # fmt: skip
    out_of_memory = [error_of(attempt, redis.ResponseError) for attempt in writes]
    server.kill()
    gone = [error_of(attempt, redis.ConnectionError) for attempt in (*writes, lambda: pool.acquire_account(timeout=0))]
    assert [shows(in_tracebacks(error)) for error in out_of_memory + gone] == [[]] * 9


def test_under_asyncio_no_error_shows_a_secret_either(own_server):
    server = own_server()

    async def attempt():
        pool = redispool.asyncio.AccountPool(
            [redispool.asyncio.Account("a1", PLANTED[0])], name="lab", redis=server.url, cipher=KEY, patience=0.1
        )
        account = await pool.get_account_from_name("a1")
        server.kill()
        found = []
        for action in (lambda: account.set_password(PLANTED[4]), lambda: pool.acquire_account(timeout=0.1)):
            try:
                await action()
            except redis.ConnectionError as error:
                found.append(in_tracebacks(error))
        return found

    assert [shows(text) for text in asyncio.run(attempt())] == [[], []]


@pytest.mark.parametrize("url", ["redis://:{}@127.0.0.1:{}/0", "redis://bob:{}@127.0.0.1:1/0"])
def test_a_refused_or_failed_log_in_does_not_show_the_servers_password(own_server, url):
    server = own_server()
    with server.client() as client:
        client.config_set("requirepass", "another")
    with pytest.raises(redis.RedisError) as caught:
        AccountPool([planted()], name="lab", redis=url.format(SERVER_PASSWORD, server.port), cipher=KEY, patience=0.1)
    assert shows(in_tracebacks(caught.value)) == []


def refused_settings(url, path):
    """What is refused before anything is sent, by name; the test's own frames know the secrets, and are left out."""
    managers = (redispool.AccountManager, redispool.asyncio.AccountManager)
    path.write_text(f"{KEY}\nno key\n")
    for face in (redispool, redispool.asyncio):
        where = face.__name__

        def open_pool(face=face, **options):
            return face.AccountPool(**{"name": "lab", "redis": url, **options})

        yield f"{where}: a bad key among good ones", lambda pool=open_pool: pool(cipher=[KEY, "no key"])
        yield f"{where}: a file with a bad key", lambda pool=open_pool: pool(cipher=f"file:{path}")
        yield f"{where}: a key for the name of a file", lambda pool=open_pool: pool(cipher=f"file:{KEY}")
        yield f"{where}: keys in a set", lambda pool=open_pool: pool(cipher={KEY})
        yield f"{where}: a bad key from a callable", lambda pool=open_pool: pool(cipher=lambda: [KEY, "no key"])
        yield f"{where}: a good key and a bad ttl", lambda pool=open_pool: pool(cipher=KEY, ttl=-1)
        yield f"{where}: a good key and a bad name", lambda pool=open_pool: pool(cipher=KEY, name="{")
        yield f"{where}: a good key and no such option", lambda pool=open_pool: pool(cipher=KEY, tll=5)
        yield f"{where}: a bad URL", lambda pool=open_pool: pool(redis=f"redis://bob:{SERVER_PASSWORD}@h:x/0")
        yield f"{where}: no URL", lambda pool=open_pool: pool(redis=f"redis//bob:{SERVER_PASSWORD}@h")
    for manager in managers:
        where = f"manager of {manager.__module__}"
        yield f"{where}: a bad ttl", lambda manager=manager: manager(redis=url, cipher=KEY, ttl=-1)
        yield f"{where}: no such option", lambda manager=manager: manager(redis=url, cipher=KEY, tll=5)
        yield (
            f"{where}: a bad URL",
            lambda manager=manager: manager(redis=f"redis://:{SERVER_PASSWORD}@h:x"),
        )
        yield f"{where}: a bad name", lambda manager=manager: manager(redis=url, cipher=KEY).pool("{")
    yield "a cluster that is gone", lambda: redispool.connect(f"redis+cluster://:{SERVER_PASSWORD}@127.0.0.1:1")
    yield "a password of bytes", lambda: Account("a1", PLANTED[0].encode())
    yield "a good password and bad labels", lambda: Account("a1", PLANTED[0], labels=3)
    yield "a new password of bytes", lambda: Account("a1").set_password(PLANTED[0].encode())
    yield "a record too large", lambda: encode(Account("a1", PLANTED[0] * 100_000), None, "lab")
    yield "a key of no format", lambda: PrivateKey.from_string(PLANTED[2], PLANTED[3])
    yield "a key file of no format", lambda: PrivateKey.from_file(path, PLANTED[3])
    yield "a file of accounts", lambda: redispool.load_accounts(spoiled_file(path))


def spoiled_file(path):
    file = path.with_suffix(".csv")
    file.write_text(f"name,password\na1,{PLANTED[0]}\na2,{PLANTED[1]},x\n")
    return file


@pytest.mark.parametrize("what", [name for name, _ in refused_settings("redis://127.0.0.1:1/0", Path("/dev/null"))])
def test_no_refusal_of_an_argument_shows_the_others_with_local_variables(what, tmp_path):
    attempt = dict(refused_settings("redis://127.0.0.1:1/0", tmp_path / "keys"))[what]
    error = error_of(attempt, Exception)
    assert isinstance(error, RedispoolError | TypeError | redis.RedisError | redis.exceptions.RedisClusterException)
    assert shows(in_tracebacks(error)) == []


def test_an_error_of_a_callable_that_gives_keys_is_told_with_its_own_frames_and_without_ours(tmp_path):
    def ask_the_kms():
        raise OSError("the KMS is down")

    url = f"redis://bob:{SERVER_PASSWORD}@127.0.0.1:1/0"
    error = error_of(lambda: AccountPool(name="lab", redis=url, cipher=ask_the_kms), OSError)
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert frames[-1] == "ask_the_kms"
    assert "seal_from" not in frames
    assert shows(in_tracebacks(error)) == []


@pytest.mark.parametrize("name", ["REDISPOOL_URL", "REDISPOOL_KEY"])
def test_a_bad_value_in_the_environment_is_not_shown_with_local_variables(monkeypatch, name):
    monkeypatch.setenv(name, f"redis://bob:{SERVER_PASSWORD}@h:x,{KEY},{OTHER}")
    assert shows(in_tracebacks(error_of(lambda: AccountPool(name="lab"), redispool.ConfigError))) == []


# -- what others can read ----------------------------------------------------------------------------------------


def exercise(url):
    pool = AccountPool([planted(f"a{number}") for number in range(3)], name="lab", redis=url, cipher=KEY)
    with pool.lease() as held:
        held.mark_bad("refused")
        with pytest.raises(AcquireTimeout):
            pool.acquire_account(held.name, timeout=0.01)
    held = pool.acquire_account("a0")
    got = []
    waiter = threading.Thread(target=lambda: got.append(pool.acquire_account("a0", timeout=10)))
    waiter.start()
    wait_until(lambda: pool.status().waiting == 1)
    held.release()
    waiter.join()
    got[0].set_password(PLANTED[4])
    pool.reseal()
    pool.acquire_account("a1")  # stays
    return pool


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_monitor_slowlog_files_and_keys_of_a_sealed_pool_show_nothing(own_server, kind):
    server = own_server(kind, appendonly="yes", slowlog_log_slower_than="0", slowlog_max_len="10000")
    with server.client() as client, client.monitor() as monitor:
        heard, done = [], "the end of it"

        def listen():
            for said in monitor.listen():
                heard.append(said["command"])
                if done in said["command"]:
                    return

        listener = threading.Thread(target=listen)
        listener.start()
        exercise(server.url)
        client.echo(done)
        listener.join(10)
        slow = client.slowlog_get(10_000)
        client.save()
        keys = list(client.scan_iter())
        dumped = b"".join(client.dump(key) or b"" for key in keys) + b"".join(keys)
        listed = repr(client.client_list())
    files = b"".join(path.read_bytes() for path in server.directory.rglob("*") if path.is_file())
    assert done in heard[-1]
    assert any("evalsha" in said.lower() for said in heard)
    assert len(slow) > 10
    assert len(files) > 5000
    for read in ("\n".join(heard), repr(slow), dumped.decode("latin-1"), files.decode("latin-1"), listed):
        assert shows(read) == []


def test_a_process_that_has_the_keys_does_not_show_them_to_ps(own_server):
    exercise(own_server().url)
    listed = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert shows(listed) == []


# -- the source --------------------------------------------------------------------------------------------------

FORBIDDEN = {"eval", "exec", "compile", "__import__"}


def test_nothing_in_the_source_runs_or_unpickles_data():
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Import(names=names) if {name.name.partition(".")[0] for name in names} & {
                    "pickle",
                    "marshal",
                    "shelve",
                    "dill",
                }:
                    found.append((path.name, node.lineno))
                case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in {
                    "pickle",
                    "marshal",
                    "shelve",
                    "dill",
                }:
                    found.append((path.name, node.lineno))
                case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN:
                    found.append((path.name, node.lineno))
                case ast.Attribute(value=ast.Name(id="yaml"), attr="load" | "unsafe_load" | "full_load" | "load_all"):
                    found.append((path.name, node.lineno))
    assert found == []


def test_every_error_of_ours_is_a_redispool_error():
    assert issubclass(redispool.SealError, RedispoolError)
