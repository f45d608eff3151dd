"""Logins with leased accounts by netmiko, scrapli, paramiko and asyncssh, to real SSH servers."""

from __future__ import annotations

import asyncio
import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest

from redispool import Account, AccountProxy, AcquireTimeout, ConfigError, LeaseLost, PrivateKey
from redispool import asyncio as awaited
from redispool.integrations.network import connect_asyncssh, connect_netmiko, connect_paramiko, connect_scrapli
from tests.conftest import wait_until

asyncssh = pytest.importorskip("asyncssh")
netmiko = pytest.importorskip("netmiko")
paramiko = pytest.importorskip("paramiko")
scrapli = pytest.importorskip("scrapli")
from .devices import Devices  # noqa: E402 - it needs asyncssh

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
PASSWORDS = {f"a{number}": f"secret-{number}" for number in range(1, 6)}


@pytest.fixture(scope="module")
def pair():
    """A key for 'keyed', and its public half."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    return PrivateKey.from_string(key.export_private_key("openssh").decode()), key.export_public_key().decode()


@pytest.fixture(scope="module")
def encrypted_key():
    text = asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh", passphrase="of-key", rounds=50)
    return PrivateKey.restore("ed25519", None, "of-key", text.decode())


@pytest.fixture
def devices(pair):
    with Devices(PASSWORDS, keys={"keyed": pair[1]}, enable="enable-secret") as running:
        yield running


def trusting():
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    return client


def by_netmiko(pool, devices, **options):
    return connect_netmiko(pool, HOST, port=devices.port, device_type="cisco_ios", **options)


def by_paramiko(pool, devices, **options):
    return connect_paramiko(pool, HOST, port=devices.port, client=trusting(), **options)


def by_scrapli(pool, devices, **options):
    ssh2 = scrapli.TransportSsh2Options()
    return connect_scrapli(
        pool, HOST, port=devices.port, definition_file_or_name="cisco_iosxe", transport_options=ssh2, **options
    )


class by_asyncssh:  # noqa: N801 - it is used like the others
    """`connect_asyncssh` for a `with` block, on a pool of the same name."""

    def __init__(self, pool, devices, **options):
        self.runner = asyncio.Runner()
        url = f"redis://127.0.0.1:{pool._wire.client.connection_pool.connection_kwargs['port']}"
        self.pool = awaited.AccountPool(name=pool.name, redis=url)
        self.block = connect_asyncssh(self.pool, HOST, port=devices.port, known_hosts=None, **options)

    def __enter__(self):
        return self.runner.run(self.block.__aenter__())

    def __exit__(self, *exception):
        try:
            self.runner.run(self.block.__aexit__(*exception))
        finally:
            self.runner.run(self.pool.aclose())
            self.runner.close()


@pytest.fixture(params=[by_netmiko, by_paramiko, by_scrapli, by_asyncssh], ids=lambda by: by.__name__)
def connect(request):
    """Opens a session: by each library in its turn."""
    return request.param


# -- keyword arguments ---------------------------------------------------------------------------------------------


def test_each_library_gets_the_account_by_its_own_names():
    account = Account("alice", "secret", "enable-secret")
    assert account.for_netmiko() == {"username": "alice", "password": "secret", "secret": "enable-secret"}
    only_this = {"username": "alice", "password": "secret"}
    assert account.for_paramiko() == {**only_this, "allow_agent": False, "look_for_keys": False}
    assert account.for_asyncssh() == {**only_this, "agent_path": None, "client_keys": None}
    options = account.for_scrapli()["auth_options"]
    assert (options.username, options.password) == ("alice", "secret")
    assert [(one.key, one.value) for one in options.lookups] == [("enable", "enable-secret")]


def test_without_an_authorization_password_the_password_serves_for_enable():
    assert Account("alice", "secret").for_netmiko()["secret"] == "secret"


def test_a_key_goes_along_and_no_empty_password_beside_it(pair):
    account = Account("keyed", key=pair[0])
    name = "ssh-ed25519"
    assert account.for_netmiko()["pkey"].get_name() == account.for_paramiko()["pkey"].get_name() == name
    assert account.for_asyncssh()["client_keys"][0].get_algorithm() == name
    assert account.for_scrapli()["auth_options"].private_key_content == pair[0].get_text()
    for keywords in (account.for_netmiko(), account.for_paramiko(), account.for_asyncssh()):
        assert "password" not in keywords
    account.set_password("both")
    assert account.for_paramiko()["password"] == account.for_asyncssh()["password"] == "both"


def test_an_encrypted_key_is_opened_with_its_password(encrypted_key):
    account = Account("keyed", key=encrypted_key)
    assert account.for_paramiko()["pkey"].get_name() == "ssh-ed25519"
    assert account.for_asyncssh()["client_keys"][0].get_algorithm() == "ssh-ed25519"
    assert account.for_scrapli()["auth_options"].private_key_passphrase == "of-key"


def test_a_key_whose_password_is_wrong_is_refused_without_a_word_of_it(encrypted_key):
    text = encrypted_key.get_text()
    account = Account("keyed", key=PrivateKey.restore("ed25519", None, "wrong-pass", text))
    for keywords in (account.for_paramiko, account.for_asyncssh):
        with pytest.raises(ConfigError) as refusal:
            keywords()
        assert "wrong-pass" not in str(refusal.value)
        assert text[60:90] not in str(refusal.value)


def test_scrapli_before_2026_has_other_names_and_wants_files(monkeypatch, encrypted_key, tmp_path):
    monkeypatch.setitem(sys.modules, "scrapli", type(sys)("scrapli"))  # one without AuthOptions
    keywords = Account("alice", "secret", "enable-secret").for_scrapli()
    assert keywords == {"auth_username": "alice", "auth_password": "secret", "auth_secondary": "enable-secret"}
    with pytest.raises(ConfigError, match="from files only"):
        Account("keyed", key=encrypted_key).for_scrapli()
    file = tmp_path / "key"
    file.write_text(encrypted_key.get_text())
    keywords = Account("keyed", key=PrivateKey.restore("ed25519", str(file), "of-key", None)).for_scrapli()
    assert (keywords["auth_private_key"], keywords["auth_private_key_passphrase"]) == (str(file), "of-key")


def test_what_is_not_installed_is_named(monkeypatch, pair, make_pool):
    account, pool = Account("keyed", key=pair[0]), make_pool(1)
    for name, needs in {
        "paramiko": [account.for_netmiko, account.for_paramiko, lambda: connect_paramiko(pool, HOST)],
        "asyncssh": [account.for_asyncssh],
        "scrapli": [account.for_scrapli, lambda: connect_scrapli(pool, HOST)],
        "netmiko": [lambda: connect_netmiko(pool, HOST)],
    }.items():
        monkeypatch.setitem(sys.modules, name, None)
        for need in needs:
            with pytest.raises(ConfigError, match=rf"pip install 'redispool\[{name}\]'"):
                need()


def test_every_kind_of_handle_has_them(make_pool, make_manager, server):
    def check(account):
        assert account.for_netmiko()["password"] == "secret-1"
        assert "secret" not in repr(account)

    pool, manager = make_pool(1), make_manager()
    check(pool.accounts[0])
    with pool.lease() as handle:
        check(handle)
        check(copy.deepcopy(handle))
    with pool.acquire_account().context() as context:
        check(context)
    manager.add_account(Account("a1", "secret-1"))
    with AccountProxy.for_random_account(manager, timeout=5) as proxy:
        check(proxy)

    async def main():
        async with awaited.AccountPool(name=pool.name, redis=server.url) as mine, mine.lease() as handle:
            check(handle)

    asyncio.run(main())


# -- sessions ------------------------------------------------------------------------------------------------------


def test_an_account_is_held_for_the_whole_session(make_pool, devices, connect):
    pool = make_pool(1)
    with connect(pool, devices):
        assert pool.status().held == 1
        with pytest.raises(AcquireTimeout), by_paramiko(pool, devices, account_timeout=0):
            pass
    assert pool.status().free == 1
    assert devices.logins == {"a1": 1}
    wait_until(lambda: not devices.in_use)


def test_with_login_only_it_is_held_only_while_logging_in(make_pool, pair, connect):
    pool = make_pool(1)
    with Devices(PASSWORDS, login_only=True, enable="secret-1") as devices, connect(pool, devices, login_only=True):
        assert pool.status().free == 1
        with connect(pool, devices, login_only=True, account_timeout=5):
            assert devices.logins == {"a1": 2}
        assert not devices.refusals


def test_a_login_by_key(make_pool, devices, pair, connect):
    pool = make_pool([Account("keyed", password2="enable-secret", key=pair[0])])
    with connect(pool, devices):
        wait_until(lambda: devices.logins == {"keyed": 1})  # the server counts when it has told the client
    assert not devices.wrong


def test_a_failed_login_gives_the_account_back_and_leaves_no_session(make_pool, devices, connect):
    pool = make_pool([Account("a1", "not-the-password")])
    with pytest.raises(Exception, match=r".") as failure, connect(pool, devices):  # each library has its own error
        pass
    assert "not-the-password" not in str(failure.value)
    assert pool.status().free == 1
    wait_until(lambda: not devices.in_use)


@pytest.mark.parametrize(
    ("connect", "bad_on"),
    [
        (by_netmiko, netmiko.NetmikoAuthenticationException),
        (by_paramiko, (paramiko.AuthenticationException, KeyError)),
        (by_scrapli, scrapli.exceptions.ScrapliException),
        (by_asyncssh, asyncssh.PermissionDenied),
    ],
    ids=lambda one: getattr(one, "__name__", "errors"),
)
def test_failed_logins_in_a_row_count_where_the_caller_says_which_errors_are_the_accounts(
    make_pool, devices, connect, bad_on
):
    pool = make_pool([Account("a1", "not-the-password")], max_failures=2)

    def log_in(password, bad_on):
        wait_until(lambda: not devices.in_use)
        pool.add_account([Account("a1", password)])
        with connect(pool, devices, bad_on=bad_on):
            pass

    for errors in ((), ZeroDivisionError, bad_on):
        with pytest.raises(Exception, match=r"."):  # each library has its own
            log_in("not-the-password", errors)
    log_in("secret-1", bad_on)
    for out in (0, 1):
        with pytest.raises(Exception, match=r"."):
            log_in("not-the-password", bad_on)
        assert pool.status().quarantined == out
    assert not any("password" in row.reason for row in pool.status().quarantine)


def test_what_is_no_class_of_errors_is_refused_before_an_account_is_taken(make_pool, devices, connect):
    pool = make_pool(1)
    with pytest.raises(ConfigError, match="bad_on"), connect(pool, devices, bad_on="wrong"):
        pass
    assert not [event for event in pool.history() if event.event == "granted"]


def test_an_error_of_the_block_comes_through(make_pool, devices, connect):
    pool = make_pool(1)
    with pytest.raises(ZeroDivisionError), connect(pool, devices):
        assert pool.release_accounts(pool.status().leases[0].owner) / 0  # and the lease is lost as well
    assert pool.status().free == 1
    wait_until(lambda: not devices.in_use)


def test_a_lease_that_was_lost_during_the_session_is_told_at_its_end(make_pool, devices):
    pool = make_pool(1, ttl=0.3, auto_renew=False)
    with pytest.raises(LeaseLost), by_paramiko(pool, devices):
        pool.acquire_account(timeout=5).release()  # somebody else gets it
    wait_until(lambda: not devices.in_use)


def test_netmiko_has_the_enable_secret(make_pool, devices):
    pool = make_pool([Account("a1", "secret-1", "enable-secret")])
    with by_netmiko(pool, devices) as connection:
        connection.enable()
        assert connection.find_prompt() == "device#"
        assert connection.send_command("show clock") == "done: show clock"


def test_a_manager_chooses_the_pool_by_the_host(make_manager, make_pool, devices):
    manager = make_manager()
    pool = make_pool(1, namespace=manager.default_pool.namespace)
    manager.add_pool(pool, "127.*")
    with by_paramiko(manager, devices, owner="me"):
        assert [lease.owner for lease in pool.status().leases] == ["me"]


def test_a_pool_of_the_wrong_kind_is_refused(make_pool, devices, server):
    pool, other = make_pool(1), awaited.AccountPool(name=make_pool().name, redis=server.url)
    with (
        pytest.raises(ConfigError, match=r"of redispool is needed, not redispool\.asyncio"),
        by_netmiko(other, devices),
    ):
        pass

    async def main():
        async with connect_asyncssh(pool, HOST):
            pass

    with pytest.raises(ConfigError, match=r"of redispool\.asyncio is needed, not redispool\.pool"):
        asyncio.run(main())
    assert pool.status().free == 1


def test_the_example_asks_fifty_devices_none_refuses_and_all_accounts_are_used_alike(make_pool, server):
    pool = make_pool(5, name="default", namespace="redispool")
    with Devices(PASSWORDS, number=50) as devices:
        program = [sys.executable, "scripts/examples/netmiko_fleet.py", "--port", str(devices.port), "show clock"]
        environment = {**os.environ, "REDISPOOL_URL": server.url}
        answers = subprocess.check_output([*program, *devices.addresses], env=environment, cwd=ROOT, text=True)
        assert answers.splitlines() == [f"{address}: done: show clock" for address in devices.addresses]
        assert not devices.refusals
        assert all(9 <= devices.logins[name] <= 11 for name in PASSWORDS), devices.logins
    pool.reset()
