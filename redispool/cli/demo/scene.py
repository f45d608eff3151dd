"""What the demo knows at an instant, and what it comes to in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redispool.status import LeaseInfo

GRACE = 1.0  # seconds after its TTL within which an abandoned account must be back
_CLOCK_STEP = 0.01  # seconds by which the server's clocks may differ among themselves


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be played; times in seconds."""

    url: str
    shown_server: str
    workers: int
    accounts: int
    seconds: float
    ttl: float


@dataclass(slots=True)
class WorkerState:
    """A worker as its reports tell: starting, waiting, leased, working, lingering, killed or gone."""

    number: int
    doing: str = "starting"
    account: str = ""
    logins: int = 0

    @property
    def name(self) -> str:
        """How the worker is known in the pool."""
        return f"worker {self.number}"


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker killed while it held an account; times by the server's clock."""

    worker: str
    account: str
    fence: int
    at: float
    expires_at: float

    @property
    def left(self) -> float:
        """Seconds that its lease still had."""
        return self.expires_at - self.at


@dataclass(frozen=True, slots=True)
class Comeback:
    """The killed worker's account in other hands again."""

    worker: str
    at: float


@dataclass(frozen=True, slots=True)
class Happening:
    """Something worth a line; `at` in seconds since the workers began."""

    at: float
    text: str
    style: str = ""


@dataclass(slots=True)
class Scene:
    """What the demo knows now."""

    plan: Plan
    accounts: tuple[str, ...]
    workers: dict[int, WorkerState]
    elapsed: float = 0.0
    leases: dict[str, LeaseInfo] = field(default_factory=dict)
    handed_out: dict[str, int] = field(default_factory=dict)
    refusals: int = 0
    happenings: list[Happening] = field(default_factory=list)
    kill: Kill | None = None
    comeback: Comeback | None = None

    def happen(self, text: str, style: str = "") -> None:
        """Note something worth a line."""
        self.happenings.append(Happening(self.elapsed, text, style))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What it came to; logins and refusals as the login service counted them.

    Attributes:
        seconds: how long the workers worked.
        logins: how often the service let each account in.
        refusals: how often it refused one because it was in use.
        not_free: the accounts that were not free again at the end.
        failures: what workers complained of.
    """

    plan: Plan
    seconds: float
    logins: Mapping[str, int]
    refusals: int
    kill: Kill | None
    comeback: Comeback | None
    not_free: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """What went against redispool's promises; nothing, if all is well."""
        found = list(self.failures)
        if not sum(self.logins.values()):
            found.append("no worker ever logged in")
        if self.refusals:
            found.append(f"the login service refused {self.refusals} logins: an account was in use twice at once")
        found += self._problems_of_the_kill()
        found += [f"{account} was not free again at the end" for account in self.not_free]
        return found

    def _problems_of_the_kill(self) -> list[str]:
        if self.kill is None:
            return ["no worker could be killed while it held an account"]
        if self.comeback is None:
            return [f"{self.kill.account} did not come back after {self.kill.worker} was killed"]
        late = self.comeback.at - self.kill.at
        if late > self.plan.ttl + GRACE:
            return [f"{self.kill.account} came back only {late:.1f} s after the kill; its TTL is {self.plan.ttl:g} s"]
        if self.comeback.at < self.kill.expires_at - _CLOCK_STEP:
            return [f"{self.kill.account} was handed out while the killed worker's lease on it still stood"]
        return []
