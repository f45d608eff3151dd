"""Nornir's tasks with leased accounts, over netmiko, to real SSH servers."""

from __future__ import annotations

import threading

import pytest

from redispool import Account, ConfigError
from tests.conftest import wait_until

pytest.importorskip("nornir_netmiko")
asyncssh = pytest.importorskip("asyncssh")
from nornir.core import Nornir  # noqa: E402 - they may be missing
from nornir.core.inventory import ConnectionOptions, Defaults, Group, Groups, Host, Hosts, Inventory, ParentGroups  # noqa: E402
from nornir.core.plugins.connections import ConnectionPluginRegister  # noqa: E402
from nornir.plugins.runners import SerialRunner, ThreadedRunner  # noqa: E402
from nornir_netmiko.tasks import netmiko_send_command  # noqa: E402

from redispool.integrations.nornir import LeasingRunner  # noqa: E402

from .devices import Devices  # noqa: E402

PASSWORDS = {f"a{number}": f"secret-{number}" for number in range(1, 6)}


@pytest.fixture(autouse=True)
def plugins():
    ConnectionPluginRegister.auto_register()
    yield
    ConnectionPluginRegister.deregister_all()


@pytest.fixture
def manager(make_manager):
    found = make_manager()
    found.add_account([Account(name, password, "enable-secret") for name, password in PASSWORDS.items()])
    return found


@pytest.fixture
def devices():
    with Devices(PASSWORDS, number=5, enable="enable-secret") as running:
        yield running


def nornir_for(devices, runner):
    """An inventory in which the hosts have credentials of their own, that are wrong."""
    extras = {"auth_timeout": 10}
    wrong = {"netmiko": ConnectionOptions(username="wrong", extras=extras)}
    group = Group("cisco", platform="cisco_ios", username="nobody", password="nothing", connection_options=wrong)
    hosts = Hosts(
        {
            f"sw{number}": Host(f"sw{number}", address, devices.port, groups=ParentGroups([group]))
            for number, address in enumerate(devices.addresses, 1)
        }
    )
    return Nornir(Inventory(hosts, Groups({"cisco": group}), Defaults()), runner=runner)


def show(task):
    """A task with a subtask."""
    answer = task.run(netmiko_send_command, command_string=f"show {task.host.name}")
    task.host.data["shown"] = answer.result
    return task.host.username


def test_each_host_has_an_account_for_the_time_of_its_task(manager, devices):
    nornir = nornir_for(devices, LeasingRunner(manager))
    users = {name: result[0].result for name, result in nornir.run(show).items()}
    assert set(users.values()) == set(PASSWORDS)
    assert devices.logins == dict.fromkeys(PASSWORDS, 1)
    assert {name: host.data["shown"] for name, host in nornir.inventory.hosts.items()} == {
        name: f"done: show {name}" for name in users
    }
    assert manager.default_pool.status().free == 5
    wait_until(lambda: not devices.in_use)


def test_no_credentials_get_into_the_inventory(manager, devices):
    nornir = nornir_for(devices, LeasingRunner(manager))
    before = repr(nornir.inventory.dict())
    seen = []

    def look(task):
        task.host.get_connection("netmiko", task.nornir.config)
        seen.append(repr(nornir.inventory.dict()))
        assert task.host.password == PASSWORDS[task.host.username]

    assert not nornir.run(look).failed
    assert len(seen) == 5
    assert not [text for text in (before, *seen) if "secret" in text]
    assert not any(host.connections for host in nornir.inventory.hosts.values())


def test_the_enable_secret_and_the_inventorys_own_options_reach_netmiko(manager, devices):
    def enable(task):
        connection = task.host.get_connection("netmiko", task.nornir.config)
        connection.enable()
        return connection.find_prompt(), connection.auth_timeout

    results = nornir_for(devices, LeasingRunner(manager)).run(enable)
    assert {result[0].result for result in results.values()} == {("device#", 10)}


def test_a_key_reaches_netmiko(make_manager):
    key = asyncssh.generate_private_key("ssh-ed25519")
    from redispool import PrivateKey

    manager = make_manager()
    manager.add_account(Account("keyed", key=PrivateKey.from_string(key.export_private_key("openssh").decode())))
    with Devices({}, number=2, keys={"keyed": key.export_public_key().decode()}) as devices:
        assert not nornir_for(devices, LeasingRunner(manager)).run(show).failed
        assert devices.logins == {"keyed": 2}


def test_with_login_only_the_accounts_are_free_during_the_tasks(manager):
    with Devices(PASSWORDS, number=5, login_only=True) as devices:
        nornir = nornir_for(devices, LeasingRunner(manager, ThreadedRunner(5), login_only=["netmiko"]))
        all_are_in = threading.Barrier(5)

        def look(task):
            all_are_in.wait(10)
            return manager.default_pool.status().free

        assert {result[0].result for result in nornir.run(look).values()} == {5}
        assert sum(devices.logins.values()) == 5
        nornir.run(show)
        assert sum(devices.logins.values()) == 5  # the connections have stayed open
        nornir.close_connections()
        nornir.close_connections()
        assert sum(devices.logins.values()) == 5  # to close them needs no account
        assert not any(host.connections for host in nornir.inventory.hosts.values())


def test_a_host_for_which_no_account_comes_free_fails_and_the_others_go_on(manager, make_manager, devices):
    taken = [manager.acquire_account() for _ in PASSWORDS]
    lab = manager.pool("lab")
    lab.add_account(taken[0])
    manager.add_pool("lab", ["sw1", "sw2"])
    manager.add_pool("empty", "sw3")
    results = nornir_for(devices, LeasingRunner(manager, SerialRunner(), account_timeout=0.1)).run(show)
    assert {name for name, result in results.items() if result.failed} == {"sw3", "sw4", "sw5"}
    assert type(results["sw3"][0].exception).__name__ == "PoolEmpty"
    assert type(results["sw4"][0].exception).__name__ == "AcquireTimeout"
    for account in taken:
        account.release()


def test_a_task_that_fails_gives_its_account_back(manager, devices):
    def fail(task):
        raise ZeroDivisionError

    results = nornir_for(devices, LeasingRunner(manager)).run(fail)
    assert {type(result[0].exception) for result in results.values()} == {ZeroDivisionError}
    assert manager.default_pool.status().free == 5


def test_a_lease_that_was_lost_fails_its_host(make_manager, devices):
    manager = make_manager(ttl=0.1, auto_renew=False)
    manager.add_account([Account(name, password) for name, password in PASSWORDS.items()])

    def dawdle(task):
        wait_until(lambda: manager.default_pool.acquire_account(task.host.username, timeout=5)).release()

    results = nornir_for(devices, LeasingRunner(manager, SerialRunner())).run(dawdle)
    assert {type(result[0].exception).__name__ for result in results.values()} == {"LeaseLost"}


def test_what_login_only_means_is_checked(manager):
    for wrong in (True, "netmiko"):
        with pytest.raises(ConfigError, match="names the connections"):
            LeasingRunner(manager, login_only=wrong)


def test_fifty_devices_are_never_refused_and_all_accounts_are_used_alike(manager):
    with Devices(PASSWORDS, number=50) as devices:
        nornir = nornir_for(devices, LeasingRunner(manager, ThreadedRunner(10)))
        assert not nornir.run(show).failed
        assert not devices.refusals
        assert set(devices.by_device.values()) == {1}
        assert all(9 <= devices.logins[name] <= 11 for name in PASSWORDS), devices.logins
