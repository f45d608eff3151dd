"""The demo itself: the pool, the login service and the workers, and what befalls them."""

from __future__ import annotations

import random
import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from redispool import Account, AccountPool, connect
from redispool.cli.demo.crew import Crew
from redispool.cli.demo.scene import GRACE, Comeback, Kill, Outcome, Plan, Scene, WorkerState
from redispool.cli.demo.worker import Orders, Report
from redispool.cli.login_service import LoginService
from redispool.connect import private_client
from redispool.drivers import Wire, run
from redispool.private_pool import private_name
from redispool.protocol.channel import PoolChannel
from redispool.protocol.keys import PoolKeys
from redispool.protocol.membership import MemberFlows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NAMESPACE = "redispool"
_STEP = 0.1  # seconds from one look at the pool to the next
_KILL_AFTER = 0.3  # of the time that there is
_IN_VIEW = 0.5  # seconds that the worker about to be killed stands there logged in
_PATIENCE = 2.0  # seconds for what is cleaned up
_STARTING = 30.0  # seconds for the workers to start, on a busy machine


@contextmanager
def temporary_pool(url: str, accounts: list[Account], ttl: float) -> Iterator[AccountPool]:
    """A pool under a name of its own, of which nothing is left in Redis after the `with` block."""
    client = connect(url)
    # a private name, so that `doctor` prunes the pool should the demo itself be killed; but removed by us, while the
    # server is certainly there
    name = private_name()
    pool = AccountPool(name=name, redis=client, ttl=ttl, patience=_PATIENCE)
    pool.n_accounts()  # raises where there is no server, before there is anything to clean up
    try:
        pool.add_account(accounts)
        yield pool
    finally:
        flows = MemberFlows(PoolChannel(PoolKeys(_NAMESPACE, name), patience=_PATIENCE))
        run(flows.reset(leave_no_trace=True), Wire(private_client(client)))
        client.close()


def play(plan: Plan, show: Callable[[Scene], None]) -> Outcome:
    """Play the demo.

    Args:
        plan: what is to be played.
        show: called with the scene several times a second.
    """
    accounts = [Account(f"switch-{number}", secrets.token_urlsafe()) for number in range(1, plan.accounts + 1)]
    service = LoginService({account.name: account.get_password() for account in accounts})
    with temporary_pool(plan.url, accounts, plan.ttl) as pool, service, Crew() as crew:
        return _Play(plan, pool, service, crew, show).run()


class _Play:
    """One performance."""

    def __init__(
        self, plan: Plan, pool: AccountPool, service: LoginService, crew: Crew, show: Callable[[Scene], None]
    ) -> None:
        self._plan = plan
        self._pool = pool
        self._service = service
        self._crew = crew
        self._show = show
        names = tuple(f"switch-{number}" for number in range(1, plan.accounts + 1))
        workers = {number: WorkerState(number) for number in range(1, plan.workers + 1)}
        self._scene = Scene(plan, names, workers)
        self._failures: list[str] = []
        self._started = time.monotonic()
        self._begun: float | None = None  # when the first worker was ready
        self._doomed: WorkerState | None = None
        self._kill_at = float("inf")
        self._closing = False

    def run(self) -> Outcome:
        self._scene.happen(f"{self._plan.workers} worker processes start; {self._plan.accounts} accounts for them all")
        plan, name, port = self._plan, self._pool.name, self._service.port
        self._crew.start(Orders(number, plan.url, name, plan.ttl, port) for number in self._scene.workers)
        while not self._over():
            self._hear()
            self._look()
            self._doom()
            self._show(self._scene)
        worked = self._scene.elapsed
        self._scene.happen("time is up: the workers log out, give their accounts back, and leave")
        self._show(self._scene)
        not_free = self._close()
        logins, refusals = self._service.logins, self._service.refusals.total()
        scene = self._scene
        return Outcome(
            plan, worked, logins, refusals, scene.kill, scene.comeback, not_free, tuple(dict.fromkeys(self._failures))
        )

    def _over(self) -> bool:
        scene, plan = self._scene, self._plan
        if self._begun is None:
            return bool(self._failures) or time.monotonic() > self._started + _STARTING
        if all(worker.doing in ("killed", "gone") for worker in scene.workers.values()):
            return True
        limit = plan.seconds + 2 * (plan.ttl + GRACE)  # time for the kill, and for what it shows
        return scene.elapsed >= plan.seconds and (scene.comeback is not None or scene.elapsed >= limit)

    # -- what the workers say ------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Take in the workers' reports for one step."""
        end = time.monotonic() + _STEP
        while (said := self._crew.next_report(max(end - time.monotonic(), 0.0))) is not None:
            number, report = said
            if self._begun is None and report.kind == "waiting":
                self._begun = time.monotonic()
            if self._begun is not None:
                self._scene.elapsed = time.monotonic() - self._begun
            self._heed(self._scene.workers[number], report)
            if time.monotonic() >= end:
                return
        if self._begun is not None:
            self._scene.elapsed = time.monotonic() - self._begun

    def _heed(self, worker: WorkerState, report: Report) -> None:
        if worker.doing == "killed":
            return
        if report.kind == "failed" or (report.kind == "gone" and not self._closing):
            self._failures.append(f"{worker.name}: {report.text or 'it ended'}")
            self._scene.happen(f"{worker.name} failed: {report.text or 'it ended'}", "bold red")
        worker.doing, worker.account = report.kind, report.account
        if report.kind == "leased":
            self._scene.handed_out[report.account] = self._scene.handed_out.get(report.account, 0) + 1
            self._notice_comeback(worker, report)
        elif report.kind == "working":
            worker.logins += 1
        elif report.kind == "refused":
            self._scene.happen(
                f"the login service REFUSED {worker.name} at {report.account}: {report.text}", "bold red"
            )
        elif report.kind == "lingering" and worker is self._doomed:
            self._kill_at = self._scene.elapsed + min(_IN_VIEW, self._plan.ttl / 4)

    def _notice_comeback(self, worker: WorkerState, report: Report) -> None:
        kill = self._scene.kill
        if kill is None or self._scene.comeback is not None:
            return
        if report.account == kill.account and report.fence > kill.fence:
            self._scene.comeback = Comeback(worker.name, report.acquired_at)
            self._scene.happen(
                f"{kill.account} is back: {worker.name} has it, {report.acquired_at - kill.at:.1f} s after the kill",
                "bold green",
            )

    # -- what the pool says --------------------------------------------------------------------------------------

    def _look(self) -> float:
        """Look at the pool; the time by the server's clock."""
        status = self._pool.status()
        self._scene.leases = {lease.account: lease for lease in status.leases}
        self._scene.refusals = self._service.refusals.total()
        return max((lease.acquired_at + lease.age for lease in status.leases), default=0.0)

    # -- what befalls them ---------------------------------------------------------------------------------------

    def _doom(self) -> None:
        """Choose a worker to be killed, and kill it when it is logged in."""
        scene = self._scene
        if self._doomed is None and self._begun is not None and scene.elapsed >= self._plan.seconds * _KILL_AFTER:
            able = [worker for worker in scene.workers.values() if worker.doing not in ("starting", "gone")]
            if able:
                self._doomed = random.choice(able)  # noqa: S311
                self._crew.linger(self._doomed.number)
        if scene.kill is None and self._doomed is not None and scene.elapsed >= self._kill_at:
            self._kill(self._doomed)

    def _kill(self, worker: WorkerState) -> None:
        self._crew.kill(worker.number)
        worker.doing = "killed"
        now = self._look()  # the pool knows nothing of it: the lease stands until its time is up
        lease = self._scene.leases.get(worker.account)
        if lease is None or lease.owner != worker.name:
            self._failures.append(f"{worker.name} was logged in to {worker.account} without a lease")
            return
        kill = Kill(worker.name, worker.account, lease.fence, now, lease.expires_at)
        self._scene.kill = kill
        self._scene.happen(f"{kill.worker} is killed (SIGKILL) while it is logged in to {kill.account}", "bold red")
        self._scene.happen(f"nobody may have {kill.account} until the dead worker's lease ends, in {kill.left:.1f} s")

    # -- the end -------------------------------------------------------------------------------------------------

    def _close(self) -> tuple[str, ...]:
        """Send the workers home; the accounts that do not come free."""
        self._closing = True
        self._crew.stop()
        while (said := self._crew.next_report(0.0)) is not None:
            self._heed(self._scene.workers[said[0]], said[1])
        end = time.monotonic() + self._plan.ttl + GRACE
        while (status := self._pool.status()).free < self._plan.accounts and time.monotonic() < end:
            time.sleep(_STEP)
        if status.free == self._plan.accounts:
            return ()
        held = {lease.account for lease in status.leases}
        return tuple(held) or ("an account",)
