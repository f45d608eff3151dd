"""What the rules of a pool promise, in plain Python: who may have which account, and who comes first.

There are no queues here, only who waits; no mail, only what somebody was told; no indexes, only what there is.
Time is in moments: the tick, and the step within it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tests.invariants import seat_of
from tests.model.rotation import Rotation

MINUTE = 6  # ticks, by which a step of priority puts a request ahead
Answer = tuple[Any, ...]
Moment = tuple[int, int]
PAST: Moment = (0, 0)


@dataclass(slots=True)
class Rules:
    """The rules of a pool; times in ticks."""

    cooldown: int | None = None
    min_interval: int | None = None
    pace: int | None = None  # ticks from one hand-out to the next
    max_failures: int | None = None
    max_uses: int | None = None
    max_per_owner: int | None = None
    cleanup: bool | None = None


@dataclass(slots=True)
class Account:
    """An account; 0 sessions: any number may hold it, and it has one seat, which is never taken."""

    sessions: int
    labels: frozenset[str] = frozenset()
    free: list[int] = field(default_factory=list)  # its seats that are, by their numbers
    resting: dict[int, Moment] = field(default_factory=dict)
    dirty: dict[int, Moment] = field(default_factory=dict)
    rests_until: Moment = PAST
    failures: int = 0
    uses: int = 0
    is_out: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A seat of an account in somebody's hands, until a moment."""

    token: str
    name: str
    number: int
    owner: str
    end: Moment
    since: Moment
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody asks for: one account by its name, or any that carry the labels; or one to be cleaned."""

    token: str
    owner: str
    ttl: int
    name: str = ""
    labels: frozenset[str] = frozenset()
    cleans: bool = False
    count: int = 1
    exclude: frozenset[str] = frozenset()
    prefer: str | bool = False
    patient: bool = False
    priority: int = 0

    @property
    def tokens(self) -> list[str]:
        """One for each account."""
        return [self.token, *(f"{self.token}/{number}" for number in range(2, self.count + 1))]

    @property
    def choice(self) -> str:
        """The labels as one string."""
        return "".join(f"\t{label}" for label in sorted(self.labels)) + "\t" if self.labels else ""


@dataclass(slots=True)
class State:
    """All that is known of a pool."""

    now: int = 0
    step: int = 0
    rules: Rules = field(default_factory=Rules)
    members: dict[str, Account] = field(default_factory=dict)
    rotations: dict[str, Rotation] = field(default_factory=lambda: {"": Rotation()})  # by the choice of labels
    leases: dict[str, Lease] = field(default_factory=dict)
    waiters: dict[str, tuple[Moment, Ask]] = field(default_factory=dict)  # those who live; the least is first
    letters: list[tuple[str, Answer]] = field(default_factory=list)  # what those who waited were told at last
    beyond: dict[str, tuple[dict[int, Moment], dict[int, Moment]]] = field(default_factory=dict)  # of removed accounts
    next_hand_out: Moment = PAST
    last_of: dict[str, str] = field(default_factory=dict)  # owner -> account


class Policies(State):
    """Who may have what, and who comes first."""

    # -- the rules -----------------------------------------------------------------------------------------------

    def is_paced(self) -> bool:
        """Whether it is too soon for the next hand-out."""
        return bool(self.rules.pace) and self.next_hand_out[0] > self.now

    def held(self, name: str) -> list[Lease]:
        """The leases on an account that have not ended."""
        return [lease for lease in self.leases.values() if lease.name == name and lease.end[0] > self.now]

    def is_within_limit(self, ask: Ask) -> bool:
        """Whether the owner may have so many more."""
        if not self.rules.max_per_owner or ask.cleans:
            return True
        mine = sum(lease.owner == ask.owner for lease in self.leases.values())
        return mine + ask.count <= self.rules.max_per_owner

    def is_for(self, ask: Ask, name: str) -> bool:
        """Whether the account is one of those asked for."""
        if ask.cleans or name in ask.exclude:
            return False
        return ask.name == name if ask.name else ask.labels <= self.members[name].labels

    def is_reserved(self, name: str) -> bool:
        """Whether all of its seats are, as they are reserved and given back together."""
        first = (lease for lease in self.held(name) if lease.number == 1)
        return any(lease.purpose == "reserved" for lease in first)

    def is_in_reach(self, ask: Ask) -> bool:
        """Whether leases in progress are all that he lacks."""
        there = [
            name
            for name, account in self.members.items()
            if self.is_for(ask, name) and not account.is_out and not self.is_reserved(name)
        ]
        return len(there) >= ask.count

    def in_vain(self, ask: Ask) -> Answer | None:
        """Why there is nothing to wait for, if so."""
        if not self.members:
            return ("empty",)
        if ask.cleans:
            return None if self.rules.cleanup else ("no cleanup",)
        if ask.name and ask.name not in self.members:
            return ("unknown",)
        if not any(ask.labels <= account.labels for account in self.members.values()):
            return ("unknown",)
        those = [name for name in self.members if self.is_for(ask, name)]
        most = min(len(those), self.rules.max_per_owner or len(those))
        if ask.count > most:
            return ("too many", most)
        healthy = sum(not self.members[name].is_out for name in those)
        return ("exhausted",) if healthy < ask.count and not ask.patient else None

    # -- who waits -----------------------------------------------------------------------------------------------

    def in_line(self) -> list[Ask]:
        """Those who wait, in the order in which they are served."""
        return [ask for _, ask in sorted(self.waiters.values(), key=lambda waiter: waiter[0])]

    def first_for(self, name: str) -> Ask | None:
        """The first who waits for an account and may have it.

        One who wants several has his place in line like anybody, if he lacks nothing but what is in use; but he holds
        up nobody where an account is never locked.
        """
        for ask in self.in_line():
            if self.is_for(ask, name) and self.is_within_limit(ask):
                locks = self.members[name].sessions > 0
                if ask.count == 1 or (locks and self.is_in_reach(ask)):
                    return ask
        return None

    def tell(self, ask: Ask, answer: Answer) -> None:
        """Who waited gets his answer, and waits no more."""
        self.waiters.pop(ask.token, None)
        self.letters.append((ask.token, answer))

    def could_be_served(self, ask: Ask) -> bool:
        """Whether a waiter would get what he waits for if he asked now."""
        if ask.cleans:
            return any(account.dirty for account in self.members.values())
        if self.is_paced() or not self.is_within_limit(ask):
            return False
        mine = [name for name, account in self.members.items() if account.free and self.is_for(ask, name)]
        if ask.count == 1:
            return any(self.first_for(name) == ask for name in mine)
        return sum(self.first_for(name) in {None, ask} for name in mine) >= ask.count

    # -- seats ---------------------------------------------------------------------------------------------------

    def rotations_of(self, name: str) -> list[tuple[str, Rotation]]:
        """Those in which the account has turns: that of all, and those of labels that it carries."""
        labels = self.members[name].labels
        return [
            (choice, rotation)
            for choice, rotation in self.rotations.items()
            if set(choice.strip("\t").split("\t")) - {""} <= labels
        ]

    def join(self, name: str) -> None:
        for choice, rotation in self.rotations_of(name):
            rotation.join(name, None if choice else len(self.members))

    def leave(self, name: str) -> None:
        for _, rotation in self.rotations_of(name):
            rotation.leave(name)

    def withdraw(self, name: str) -> list[int]:
        """Nobody gets the account's free seats; which they were."""
        account = self.members[name]
        self.leave(name)
        free, account.free = account.free, []
        return free

    def rest(self, name: str, until: Moment) -> None:
        """The account's free seats rest, and so do the others as they come free, unless they rest longer anyway."""
        account = self.members[name]
        account.rests_until = max(account.rests_until, until)
        account.resting |= dict.fromkeys(self.withdraw(name), until)

    def put_out(self, name: str) -> None:
        """Quarantine: the account is out of it all, but for who holds it."""
        account = self.members[name]
        account.is_out = True
        self.withdraw(name)
        for number in range(1, max(account.sessions, 1) + 1):
            account.resting.pop(number, None)
            account.dirty.pop(number, None)

    def lend(self, token: str, name: str, number: int, ask: Ask, purpose: str = "") -> None:
        end = (self.now + ask.ttl, self.step)
        self.leases[token] = Lease(token, name, number, ask.owner, end, (self.now, self.step), purpose)

    def hand_out(self, ask: Ask, token: str, name: str, number: int) -> Answer:
        """A seat that is not among the free ones any more goes to somebody; and what the rules say of that."""
        account = self.members[name]
        if account.sessions:
            self.lend(token, name, number, ask)
        if self.rules.pace:
            later = max(self.next_hand_out, (self.now, self.step))
            self.next_hand_out = (later[0] + self.rules.pace, later[1])
        if self.rules.min_interval:
            self.rest(name, (self.now + self.rules.min_interval, self.step))
        if self.rules.max_uses:
            account.uses += 1
            if account.uses >= self.rules.max_uses:
                self.put_out(name)
        if ask.prefer is True:
            self.last_of[ask.owner] = name
        return ("granted", seat_of(name, number))

    def hand_out_free(self, ask: Ask, token: str, name: str) -> Answer:
        """One of an account's free seats goes to somebody; if more are free, it has its next turn at the end."""
        account = self.members[name]
        self.leave(name)
        number = account.free.pop(0) if account.sessions else 1
        if account.free:
            self.join(name)
        return self.hand_out(ask, token, name, number)

    def come_free(self, name: str, number: int) -> None:
        """A seat has come free: it goes to the first who waits for it, or is free."""
        account = self.members.get(name)
        if account is None or account.is_out or self.is_surplus(name, number):
            return
        if account.rests_until[0] > self.now:
            account.resting[number] = account.rests_until
            return
        if not account.sessions:
            self.open_up(name)
            return
        ask = self.first_for(name)
        if ask and ask.count == 1 and not self.is_paced():
            self.tell(ask, self.hand_out(ask, ask.token, name, number))
        else:
            account.free.append(number)
            self.join(name)

    def is_surplus(self, name: str, number: int) -> bool:
        """Whether there is no such seat any more, or somebody whose own there is no more has it from now on."""
        sessions = self.members[name].sessions
        if number > max(sessions, 1):
            return True
        beyond = [lease for lease in self.held(name) if lease.number > sessions > 0]
        if beyond:
            last = max(beyond, key=lambda lease: lease.number)
            self.leases[last.token] = replace(last, number=number)
        return bool(beyond)

    def open_up(self, name: str) -> None:
        """An account that is never locked: all who wait for it get it."""
        account = self.members[name]
        if account.free:
            return
        account.free = [1]
        self.join(name)
        while account.free and not self.is_paced():
            ask = self.first_for(name)
            if ask is None:
                return
            self.tell(ask, self.hand_out(ask, ask.token, name, 1))

    def become_dirty(self, name: str, number: int) -> None:
        """A seat is to be cleaned: by the first who waits for that, or by who comes."""
        account = self.members[name]
        if account.is_out or not account.sessions or self.is_surplus(name, number):
            return
        cleaner = next((ask for ask in self.in_line() if ask.cleans), None)
        if cleaner:
            self.lend(cleaner.token, name, number, cleaner, "cleanup")
            self.tell(cleaner, ("granted", seat_of(name, number)))
        else:
            account.dirty[number] = (self.now, self.step)

    def give_back(self, token: str, cooldown: int | None = None, *, undone: bool = False) -> bool:
        """A lease is over; 'undone': not by its holder, or not as he meant to. Whether it stood until now."""
        lease = self.leases.pop(token, None)
        if lease is None:
            return False
        stood = lease.end[0] > self.now
        account = self.members.get(lease.name)
        if account is None:
            return stood
        if self.rules.cleanup and (lease.purpose != "cleanup" or undone or not stood):
            if cooldown:
                account.rests_until = max(account.rests_until, (self.now + cooldown, self.step))
            self.become_dirty(lease.name, lease.number)
            return stood
        rest = self.rules.cooldown if cooldown is None else cooldown
        if rest:
            account.resting[lease.number] = (self.now + rest, self.step)
        else:
            self.come_free(lease.name, lease.number)
        return stood

    def reclaim(self) -> None:
        """What has ended comes free: leases, the first to end first; then what has rested; then what nobody cleans."""
        for lease in sorted(self.leases.values(), key=lambda lease: (lease.end, lease.token)):
            if lease.end[0] <= self.now:
                self.give_back(lease.token)
        for back, _, name, number in self.in_order("resting"):
            if back[0] <= self.now:
                self.members[name].resting.pop(number, None)
                self.come_free(name, number)
        for _, _, name, number in [] if self.rules.cleanup else self.in_order("dirty"):
            self.members[name].dirty.pop(number, None)
            self.come_free(name, number)

    def in_order(self, what: str) -> list[tuple[Moment, str, str, int]]:
        """The seats that rest, or are dirty: until or since when, the seat, its account, its number."""
        return sorted(
            (moment, seat_of(name, number), name, number)
            for name, account in self.members.items()
            for number, moment in getattr(account, what).items()
        )
