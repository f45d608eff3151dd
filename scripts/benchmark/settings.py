"""How long and how large a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """One run; times in seconds.

    Attributes:
        url: the server's.
        prefix: what the names of everything that the run leaves in Redis begin with.
        rounds: how often each measurement goes around all peers.
        cycles: acquire and release, so many times, is one sample of an uncontended peer.
        contenders: processes that contend for one account.
        quota: turns that each contender has to take in one round.
        flat_out_seconds: how long they take as many turns as they can get, per peer and round.
        threads: in each process, for the measurement of the hand-off.
        handoff_seconds: how long hand-offs are watched, per peer and round.
        hold: how long each holds the account meanwhile, so that the others are at rest when it is released.
        accounts: in the large pool that is compared with a small one.
        batches: samples of the server's time in either pool.
    """

    url: str
    prefix: str
    rounds: int = 30
    cycles: int = 150
    contenders: int = 16
    contended_rounds: int = 6
    quota: int = 10
    flat_out_rounds: int = 3
    flat_out_seconds: float = 1.0
    threads: int = 4
    handoff_rounds: int = 2
    handoff_seconds: float = 2.0
    hold: float = 0.003
    accounts: int = 100_000
    batches: int = 200

    @property
    def waiters(self) -> int:
        """How many contend while the hand-off is measured."""
        return self.contenders * self.threads


QUICK = {
    "rounds": 8, "cycles": 60, "contended_rounds": 2, "flat_out_rounds": 1, "flat_out_seconds": 0.5,
    "handoff_rounds": 1, "handoff_seconds": 0.8, "accounts": 20_000, "batches": 60,
}  # fmt: skip
