"""Leases, and a home for them that needs no Redis: what it is asked is noted, what it answers is set by the test."""

from __future__ import annotations

import itertools
import os
import time

from redispool.lease import Lease
from redispool.protocol.requests import Grant

_numbers = itertools.count(1)


class Home:
    """A pool as leases and the keeper see it."""

    def __init__(self):
        self.renewals: list[list[Lease]] = []
        self.given_back: list[Lease] = []
        self.abandoned: list[Lease] = []
        self.over: set[Lease] = set()
        self.error: Exception | None = None

    @property
    def operations(self):
        return self

    def run(self, flow):
        return flow

    def give_back(self, lease):
        if self.error is not None:
            raise self.error
        lease.released = True
        self.given_back.append(lease)

    def renew_lease(self, lease, ttl):
        self.renewals.append([lease])
        return ttl

    def renew_leases(self, leases):
        self.renewals.append(list(leases))
        if self.error is not None:
            raise self.error
        for lease in leases:
            if lease not in self.over:
                lease.extended(time.time() + lease.ttl, time.monotonic() + lease.ttl)
        return [lease for lease in leases if lease in self.over]

    def abandon(self, lease):
        self.abandoned.append(lease)


def new_lease(home, ttl=60.0, *, account="a1", valid_until=None, pid=None):
    """A lease that was granted just now."""
    number = next(_numbers)
    now, end = time.time(), time.monotonic() + ttl if valid_until is None else valid_until
    grant = Grant(f"token-{number}", account, number, now, now + ttl, end, b"")
    return Lease(grant, "me", ttl, os.getpid() if pid is None else pid, home)
