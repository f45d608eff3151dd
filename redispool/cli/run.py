"""The command `redispool run`: an account for the time of one command."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import redis
import typer

from redispool import AccountManager
from redispool.arguments import check_seconds, check_ttl
from redispool.cli.exits import ExitStatus
from redispool.cli.minder import PASSED_ON, Minder, Order, Outcome
from redispool.cli.options import NAMESPACE, NamespaceOption, Settings, UrlOption, labels_from, pools_that_begin
from redispool.connect import connect
from redispool.errors import ConfigError, LeaseLost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redispool import Account, Lease

_SI_KERNEL = 0x80  # how Linux marks a signal that comes from the terminal, and so to the command as well
_STANDARD = (1, 2)
_NAMES = ("NAME", "PASSWORD", "AUTHORIZATION_PASSWORD", "FENCE", "KEY", "KEY_PASSWORD", "FD")
_MARGIN = 1.0  # seconds that the system may take to end a command
_WATCHED = PASSED_ON | {signal.SIGCHLD, signal.SIGALRM}


def run(
    ctx: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="The command and its arguments.")],
    pool: Annotated[
        str | None,
        typer.Option("--pool", "-p", help="The pool; 'default' if not given.", autocompletion=pools_that_begin),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Take the pool that serves this host (see routes).")] = None,
    account: Annotated[str | None, typer.Option(help="This very account of the pool.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only one that carries it.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait for it; without, as long as it takes.")] = None,
    ttl: Annotated[float, typer.Option(help="Seconds that the lease lives without renewal.")] = 60.0,
    priority: Annotated[int, typer.Option(help="-1000 to 1000; higher is served first.")] = 0,
    owner: Annotated[str | None, typer.Option(help="Who holds it, as others see it.")] = None,
    prefix: Annotated[str, typer.Option("--env-prefix", help="What the variables' names begin with.")] = "ACCOUNT_",
    descriptor: Annotated[
        int | None, typer.Option("--fd", min=0, help="Give the credentials as JSON on this descriptor instead.")
    ] = None,
    grace: Annotated[float, typer.Option(help="Seconds from SIGTERM to SIGKILL.")] = 5.0,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
) -> None:
    """Lease an account, run a command with it, and give it back.

    The command finds ACCOUNT_NAME, ACCOUNT_PASSWORD, ACCOUNT_AUTHORIZATION_PASSWORD, ACCOUNT_FENCE and, where the
    account has a key, ACCOUNT_KEY and ACCOUNT_KEY_PASSWORD in its environment. With --fd 3 the same is a JSON object
    to be read from descriptor 3, and only the name and the fence are in the environment.

    Signals are passed on, and the exit status is the command's. What it leaves running is ended before the account
    goes back. If the lease is lost, the command is ended, before anybody else can have the account, and the status is
    75; so it is when no account came free in time. If the command cannot be run: 126 or 127.
    """
    _check(command, prefix, descriptor)
    if host is not None and (pool is not None or account is not None or label):
        raise ConfigError("--host chooses the pool: give it without --pool, --account and --label")
    terms: dict[str, Any] = {"timeout": timeout, "ttl": check_ttl(ttl), "priority": priority}
    longest_grace = min(check_seconds("--grace", grace), ttl / 3)
    settings = ctx.ensure_object(Settings)
    client = connect(url)  # an embedded server that this starts is none of the command's
    minder = Minder()
    manager = AccountManager(redis=client, namespace=namespace)
    if host is not None:
        leased: Account = manager.acquire_account_for(host, owner, **terms)
    else:
        labels = labels_from(label)
        leased = manager.pool(pool or "default").acquire_account(account, owner, labels=labels, **terms)
    with _returning(leased, settings) as lease, _signals_held_back(), minder:
        environment, content = _given(leased, prefix, descriptor)
        minder.start(Order(command, environment, longest_grace, _over_by(lease), descriptor, content))
        outcome = _attend(minder, lease)
        if outcome.lost:
            raise LeaseLost("its command was ended")
    if outcome.error:
        settings.complain(f"cannot run {command[0]}: {os.strerror(outcome.error)}")
    raise typer.Exit(outcome.status)


def _check(command: list[str], prefix: str, descriptor: int | None) -> None:
    if not command[0]:
        raise ConfigError("COMMAND must not be empty")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", prefix):
        raise ConfigError("--env-prefix must be letters, digits and underscores, and not begin with a digit")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptor is not None and (descriptor in _STANDARD or descriptor >= limit):
        raise ConfigError(f"--fd must be 0 (standard input), or from 3 to {limit - 1}")


def _given(account: Account, prefix: str, descriptor: int | None) -> tuple[dict[str, str], str]:
    """The command's environment, and what it is to read from the descriptor."""
    key = account.get_key()
    secret = {"password": account.get_password(), "authorization_password": account.get_authorization_password()}
    if key is not None:
        secret |= {"key": key.get_text() or "", "key_password": key.get_password()}
    public = {"name": account.name, "fence": str(account.lease.fence if account.lease else 0)}
    ours = {f"{prefix}{name}" for name in _NAMES}  # none is to be left of another account
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    if descriptor is not None:
        content = json.dumps({**public, **secret}) + "\n"
        return {**inherited, **_named(prefix, {**public, "fd": str(descriptor)})}, content
    if any("\0" in value for value in secret.values()):
        raise ConfigError(f"a credential of account {account.name!r} cannot be in an environment; use --fd 3")
    return {**inherited, **_named(prefix, public | secret)}, ""


def _named(prefix: str, values: dict[str, str]) -> dict[str, str]:
    return {f"{prefix}{name.upper()}": value for name, value in values.items()}


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Within the block, signals wait for `_attend` to pass them on; those that come too late are dropped."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        while signal.sigtimedwait(_WATCHED, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _over_by(lease: Lease | None) -> float | None:
    """When the command must be over, by the monotonic clock: somewhat before the lease can end."""
    return None if lease is None else lease.valid_until - min(_MARGIN, lease.ttl / 10)


def _attend(minder: Minder, lease: Lease | None) -> Outcome:
    """Pass on signals and renewals until the command has ended."""
    known = _over_by(lease)
    pause = 1.0 if lease is None else min(1.0, lease.ttl / 10)
    if lease is not None:
        lease.lost_event.connect(lambda _: os.kill(os.getpid(), signal.SIGCHLD))  # wakes us
    # a timer, for sigtimedwait makes up a signal where Ctrl-Z has stopped it beyond its timeout (CPython)
    signal.setitimer(signal.ITIMER_REAL, pause, pause)
    while True:
        received = signal.sigwaitinfo(_WATCHED)
        if received.si_signo in PASSED_ON and received.si_code != _SI_KERNEL:
            minder.pass_on(received.si_signo)
        outcome = minder.outcome()
        if outcome is not None:
            return outcome
        if lease is None:
            continue
        if lease.lost:
            minder.end()
        elif (renewed := _over_by(lease)) is not None and renewed != known:
            known = renewed
            minder.extend(renewed)


@contextmanager
def _returning(account: Account, settings: Settings) -> Iterator[Lease | None]:
    """Gives the account back at the end of the block; status 75 where it was lost before that."""
    lease = account.lease
    try:
        yield lease
        account.release()
    except LeaseLost as error:
        if lease is not None and not lease.lost:  # the server could not be reached in time; perhaps it can by now
            with suppress(LeaseLost, redis.RedisError):
                lease.home.give_back(lease)
        settings.complain(f"the lease on account {account.name!r} was lost: {error}")
        raise typer.Exit(ExitStatus.NO_ACCOUNT) from None
    except redis.RedisError as error:
        settings.complain(f"account {account.name!r} could not be given back: {error}. It comes back by itself.")
    except BaseException:
        account.release()
        raise
