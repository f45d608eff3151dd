"""What a pool should do, in plain Python and without a server: the reference that the scripts are held against.

Time is counted in ticks, which somebody else lets pass. It knows neither keys nor scripts, only accounts, leases, who
waits and whose turn it is; what it has in common with the scripts is the order in which they do things.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tests.model.rotation import Rotation

MINUTE = 6  # ticks, by which a step of priority puts a request ahead
Answer = tuple[Any, ...]
Seat = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Lease:
    """A seat in somebody's hands, until a tick; of those that end in one, the first to be taken ends first."""

    token: str
    seat: Seat
    owner: str
    fence: int
    end: int
    step: int


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody who waits; the least stamp is served first."""

    token: str
    want: str
    owner: str
    ttl: int
    stamp: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Mail:
    """What lies in a mailbox, until a tick."""

    letters: list[Answer]
    until: int


def name_of_seat(seat: Seat) -> str:
    name, number = seat
    return name if number == 1 else f"{name}\t{number}"


@dataclass(slots=True)
class Pool:
    """The reference. `sessions` tells of an account how many may hold it; 0: any number, and it is never locked."""

    sessions: dict[str, int]
    now: int = 0
    step: int = 0
    fence: int = 0
    has_extras: bool = False
    members: list[str] = field(default_factory=list)
    rotation: Rotation = field(default_factory=Rotation)
    idle: dict[str, list[int]] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    cooling: dict[Seat, tuple[int, int]] = field(default_factory=dict)
    quarantined: set[str] = field(default_factory=set)
    requests: dict[str, Request] = field(default_factory=dict)
    alive: dict[str, int] = field(default_factory=dict)
    mail: dict[str, Mail] = field(default_factory=dict)

    # -- looking -------------------------------------------------------------------------------------------------

    def queue(self, want: str) -> list[Request]:
        waiting = [request for request in self.requests.values() if request.want == want]
        return sorted(waiting, key=lambda request: request.stamp)

    def by_end(self) -> list[Lease]:
        return sorted(self.leases.values(), key=lambda lease: (lease.end, lease.step, lease.token))

    def resting(self) -> list[Seat]:
        return sorted(self.cooling, key=lambda seat: (*self.cooling[seat], name_of_seat(seat)))

    def lease_on(self, seat: Seat) -> Lease | None:
        return next((lease for lease in self.leases.values() if lease.seat == seat and lease.end > self.now), None)

    def free_seats(self) -> int:
        return sum(max(len(self.idle.get(name, [])), 1) for name in self.members if self.rotation.has_turn(name))

    def next_end(self) -> int | None:
        ends = [lease.end for lease in self.leases.values()] + [back for back, _ in self.cooling.values()]
        return max(min(ends) - self.now, 0) if ends else None

    def withdraw(self, name: str) -> None:
        self.rotation.leave(name)
        self.idle.pop(name, None)

    # -- who waits -----------------------------------------------------------------------------------------------

    def is_alive(self, token: str) -> bool:
        return self.alive.get(token, 0) > self.now

    def forget(self, token: str) -> None:
        self.requests.pop(token, None)

    def close_mailbox(self, token: str) -> None:
        self.alive.pop(token, None)
        self.mail.pop(token, None)

    def send(self, request: Request, letter: Answer, ticks: int) -> None:
        mail = self.mail.setdefault(request.token, Mail([], 0))
        mail.letters.append(letter)
        mail.until = self.now + ticks

    def post(self, request: Request, letter: Answer, ticks: int) -> None:
        self.forget(request.token)
        self.send(request, letter, ticks)
        self.alive.pop(request.token, None)

    def wake(self, request: Request | None) -> None:
        if request:
            self.send(request, ("again",), request.ttl)

    def wake_all(self, want: str) -> None:
        for request in self.queue(want):
            self.wake(request)

    def dismiss(self, want: str, reason: str) -> None:
        for request in self.queue(want):
            self.post(request, (reason,), MINUTE)

    def first_waiter(self, name: str) -> Request | None:
        while True:
            heads = [queue[0] for want in ("", name) if (queue := self.queue(want))]
            if not heads:
                return None
            first = min(heads, key=lambda request: request.stamp)
            if self.is_alive(first.token):
                return first
            self.forget(first.token)

    # -- seats ---------------------------------------------------------------------------------------------------

    def grant(self, request: Request, seat: Seat) -> Answer:
        assert self.lease_on(seat) is None
        self.fence += 1
        end = self.now + request.ttl
        self.leases[request.token] = Lease(request.token, seat, request.owner, self.fence, end, self.step)
        return ("granted", name_of_seat(seat), self.fence)

    def grant_seat(self, request: Request, name: str) -> Answer:
        """A seat of an account that has just left the rotation, to which it returns if there are more."""
        if self.sessions[name] == 0:
            self.rotation.join(name, len(self.members))
            return ("granted", name, 0)
        if self.sessions[name] == 1:
            return self.grant(request, (name, 1))
        answer = self.grant(request, (name, self.idle[name].pop(0)))
        if self.idle[name]:
            self.rotation.join(name, len(self.members))
        return answer

    def free(self, seat: Seat) -> None:
        name, number = seat
        if name not in self.members or name in self.quarantined:
            return
        if self.sessions[name] == 0:
            self.open_up(name)
            return
        waiter = self.first_waiter(name)
        if waiter:
            self.post(waiter, self.grant(waiter, seat), waiter.ttl)
            return
        if self.sessions[name] > 1:
            self.idle.setdefault(name, []).append(number)
        self.rotation.join(name, len(self.members))

    def open_up(self, name: str) -> None:
        if self.rotation.has_turn(name):
            return
        self.rotation.join(name, len(self.members))
        while waiter := self.first_waiter(name):
            self.post(waiter, ("granted", name, 0), waiter.ttl)

    def rest(self, seat: Seat, back: int) -> None:
        known = self.next_end()
        self.has_extras = True
        self.cooling[seat] = (back, self.step)
        if known is None or back - self.now < known:
            self.wake(self.first_waiter(seat[0]))

    def give_back(self, token: str, cooldown: int = 0) -> bool:
        lease = self.leases.pop(token, None)
        if lease is None:
            return False
        if cooldown and lease.seat[0] in self.members:
            self.rest(lease.seat, self.now + cooldown)
        else:
            self.free(lease.seat)
        return lease.end > self.now

    def reclaim(self) -> None:
        for lease in self.by_end():
            if lease.end <= self.now:
                self.give_back(lease.token)
        for seat in self.resting():
            if self.cooling[seat][0] <= self.now:
                del self.cooling[seat]
                self.free(seat)

    def granted_before(self, token: str) -> Answer | None:
        lease = self.leases.get(token)
        if lease is None:
            return None
        if lease.seat[0] in self.members and lease.end > self.now:
            return ("granted", name_of_seat(lease.seat), lease.fence)
        self.give_back(token)
        return None

    # -- requests ------------------------------------------------------------------------------------------------

    def acquire(self, asked: Request, *, wait: bool, presence: int, priority: int, stamp: Any) -> Answer:
        token = asked.token
        if stamp and token not in self.leases:
            self.close_mailbox(token)
            self.requests[token] = replace(asked, stamp=stamp)
            self.alive[token] = self.now + presence
        self.reclaim()
        answer = self.granted_before(token)
        in_vain = None if answer else self.in_vain(asked.want)
        if answer or in_vain:
            if in_vain:
                self.forget(token)
            self.close_mailbox(token)
            return answer or (in_vain,)
        answer = self.take(asked)
        if answer:
            self.forget(token)
            self.close_mailbox(token)
            return answer
        if not wait:
            return ("busy",)
        known = self.requests[token].stamp if token in self.requests else (self.now - priority * MINUTE, self.step)
        self.requests[token] = replace(asked, stamp=stamp or known)
        self.alive[token] = self.now + presence
        rank = [request.token for request in self.queue(asked.want)].index(token)
        return ("waiting", rank, self.next_end())

    def in_vain(self, want: str) -> str | None:
        if not self.members:
            return "empty"
        if want and want not in self.members:
            return "unknown"
        if self.quarantined and (len(self.quarantined) >= len(self.members) or want in self.quarantined):
            return "exhausted"
        return None

    def take(self, asked: Request) -> Answer | None:
        """What is asked for, if it is free and nobody waits for it who came before."""
        while True:
            name = asked.want or self.rotation.next_account()
            if name is None or (asked.want and not self.rotation.has_turn(name)):
                return None
            waiter = self.first_waiter(name)
            self.rotation.leave(name)
            if waiter is None or waiter.token == asked.token:
                return self.grant_seat(asked, name)
            self.post(waiter, self.grant_seat(waiter, name), waiter.ttl)

    def cancel(self, token: str, *, keep: bool) -> Answer:
        answer = self.granted_before(token) if keep else None
        if not answer:
            self.give_back(token)
        self.forget(token)
        self.close_mailbox(token)
        return answer or ("cancelled",)

    def renew(self, token: str, ttl: int) -> bool:
        lease = self.leases.get(token)
        stands = lease is not None and lease.end > self.now
        if stands:
            self.leases[token] = replace(lease, end=self.now + ttl, step=self.step)
        self.reclaim()
        return stands

    # -- members -------------------------------------------------------------------------------------------------

    def circulate(self, name: str) -> None:
        if self.sessions[name] == 0:
            self.free((name, 1))
        for number in range(1, self.sessions[name] + 1):
            seat = (name, number)
            if not self.lease_on(seat) and seat not in self.cooling:
                self.free(seat)

    def add(self, name: str) -> int:
        self.reclaim()
        if name in self.members:
            return 0
        self.members.append(name)
        self.circulate(name)
        return 1

    def forget_account(self, name: str) -> None:
        self.withdraw(name)
        self.cooling = {seat: back for seat, back in self.cooling.items() if seat[0] != name}
        self.quarantined.discard(name)

    def remove(self, name: str) -> int:
        self.reclaim()
        removed = name in self.members
        if removed:
            self.forget_account(name)
            self.members.remove(name)
        self.dismiss(name, "unknown" if self.members else "empty")
        if not self.members:
            self.dismiss("", "empty")
        elif self.has_extras:
            self.wake_all("")
        return int(removed)

    def rename(self, name: str, new: str) -> str:
        self.reclaim()
        if name not in self.members:
            return "unknown"
        seats = range(1, max(self.sessions[name], 1) + 1)
        if new in self.members or any(self.lease_on((new, number)) for number in seats):
            return "exists"
        had_turn = self.rotation.has_turn(name)
        self.members[self.members.index(name)] = new
        for token, lease in self.leases.items():
            if lease.seat[0] == name and lease.end > self.now:
                self.leases[token] = replace(lease, seat=(new, lease.seat[1]))
        self.cooling = {(new if one == name else one, number): back for (one, number), back in self.cooling.items()}
        if name in self.idle:
            self.idle[new] = self.idle.pop(name)
        if name in self.quarantined:
            self.quarantined = self.quarantined - {name} | {new}
        if had_turn:
            self.rotation.pass_turn(name, new)
        self.dismiss(name, "unknown")
        return "done"

    def quarantine(self, name: str) -> str:
        self.reclaim()
        if name not in self.members:
            return "unknown"
        self.has_extras = True
        if name not in self.quarantined:
            self.quarantined.add(name)
            self.withdraw(name)
            self.cooling = {seat: back for seat, back in self.cooling.items() if seat[0] != name}
            self.wake_all(name)
            if len(self.quarantined) >= len(self.members):
                self.wake_all("")
        return "done"

    def restore(self, name: str) -> str:
        self.reclaim()
        if name not in self.members:
            return "unknown"
        self.has_extras = True
        if name in self.quarantined:
            self.quarantined.discard(name)
            self.circulate(name)
        return "done"

    def reset(self) -> None:
        for want in ["", *self.members]:
            self.dismiss(want, "empty")
        self.members, self.rotation, self.idle, self.leases = [], Rotation(), {}, {}
        self.cooling, self.quarantined, self.requests = {}, set(), {}

    # -- time ----------------------------------------------------------------------------------------------------

    def pass_time(self, ticks: int) -> None:
        self.now += ticks
        self.alive = {token: end for token, end in self.alive.items() if end > self.now}
        self.mail = {token: mail for token, mail in self.mail.items() if mail.until > self.now}
