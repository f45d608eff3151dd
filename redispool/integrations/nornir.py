"""A runner for Nornir that leases an account for each host around its task.

    nornir = InitNornir(...).with_runner(LeasingRunner(manager))

It is a runner and no processor: what a processor raises ends the whole run, so a host for which no account came free
would take all the others' results along.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from redispool.errors import ConfigError
from redispool.logins import hang_up

try:
    from nornir.core.inventory import ConnectionOptions
    from nornir.core.plugins.connections import ConnectionPluginRegister
    from nornir.plugins.runners import ThreadedRunner
except ImportError:
    raise ConfigError("the integration with Nornir needs it: pip install 'redispool[nornir]'") from None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nornir.core.inventory import Host
    from nornir.core.plugins.runners import RunnerPlugin
    from nornir.core.task import AggregatedResult, Task

    from redispool.account import Account
    from redispool.manager import AccountManager


class LeasingRunner:
    """Runs a task for each host with an account that the manager chooses for the host (by its name or hostname).

    The task and its subtasks see a `task.host` of their own, which has the account's credentials as username and
    password, and in the connection options what netmiko, paramiko and scrapli need beside them; so no credentials get
    into the inventory, and each thread has its own. What the task stores in `task.host.data` is the inventory's.

    A host for which no account is had (AcquireTimeout, PoolEmpty) has failed; the others go on. So has one whose
    lease was lost (LeaseLost).

    Args:
        manager: an `AccountManager`.
        runner: runs the tasks; default: Nornir's ThreadedRunner, with 20 threads. Of more threads than there are
            accounts, the others wait.
        login_only: the names of the connections to log in with while the account is held, such as `["netmiko"]`. The
            account is released before the task begins; connections stay open, and a host whose connections are open
            needs no account. Default: the account is held for the whole task, and connections that the task opened
            are closed at its end.
        account_timeout: seconds to wait for an account; None waits for ever.
        owner: who holds the accounts (see `AccountPool.acquire_account`).
    """

    def __init__(
        self,
        manager: AccountManager,
        runner: RunnerPlugin | None = None,
        *,
        login_only: Iterable[str] = (),
        account_timeout: float | None = None,
        owner: object = None,
    ) -> None:
        if isinstance(login_only, str | bool):
            raise ConfigError("login_only names the connections to log in with, as in login_only=['netmiko']")
        self._manager = manager
        self._runner: RunnerPlugin = ThreadedRunner() if runner is None else runner
        self._connections = list(login_only)
        self._timeout = account_timeout
        self._owner = owner

    def run(self, task: Task, hosts: list[Host]) -> AggregatedResult:
        """Run the task for the hosts; what Nornir calls."""
        leased = task.copy()
        if task.task.__module__ != "nornir.core":  # its own task only closes connections
            leased.task = self._logged_in(task.task) if self._connections else self._leased(task.task)
        return self._runner.run(leased, hosts)

    def _leased(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(task: Task, **parameters: Any) -> Any:
            with self._account_for(task.host) as account:
                task.host = _with_account(task.host, account)
                task.host.connections = {}
                try:
                    return function(task, **parameters)
                finally:
                    for name, opened in list(task.host.connections.items()):
                        hang_up(opened.connection, partial(task.host.close_connection, name))

        return run

    def _logged_in(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(task: Task, **parameters: Any) -> Any:
            missing = [name for name in self._connections if name not in task.host.connections]
            if missing:
                with self._account_for(task.host) as account:
                    host = _with_account(task.host, account)  # which shares the inventory's connections
                    for name in missing:
                        host.get_connection(name, task.nornir.config)
            return function(task, **parameters)

        return run

    @contextmanager
    def _account_for(self, host: Host) -> Iterator[Account]:
        account = self._manager.acquire_account_for(host, self._owner, timeout=self._timeout)
        failed = True
        try:
            yield account
            failed = False
        finally:
            _give_back(account, failed=failed)


def _give_back(account: Account, *, failed: bool) -> None:
    try:
        account.release()
    except Exception:
        if not failed:  # else the block's own error comes first
            raise


def _with_account(host: Host, account: Account) -> Host:
    """A copy of the host that logs in with the account."""
    mine = copy.copy(host)
    mine.username, mine.password = account.get_name(), account.get_password()
    mine.connection_options = dict(host.connection_options)
    for name in ConnectionPluginRegister.available:  # whose options may name a user of their own
        known = host.get_connection_parameters(name)
        mine.connection_options[name] = ConnectionOptions(
            known.hostname, known.port, mine.username, mine.password, known.platform,
            {**(known.extras or {}), **_EXTRAS.get(name, _nothing)(account)},
        )  # fmt: skip
    return mine


def _nothing(_account: Account) -> dict[str, Any]:
    return {}


def _key(account: Account) -> dict[str, Any]:
    key = account.get_key()
    return {} if key is None else {"pkey": key.for_paramiko()}


_EXTRAS: dict[str, Callable[[Account], dict[str, Any]]] = {
    "netmiko": lambda account: {"secret": account.get_authorization_password(), **_key(account)},
    "paramiko": _key,
    "scrapli": lambda account: {"auth_secondary": account.get_authorization_password()},
}
