"""What can be done with a pool of rules, and what it answers: the other half of the reference, over `policies`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.invariants import seat_of
from tests.model.policies import MINUTE, PAST, Account, Answer, Ask, Moment, Policies
from tests.model.rotation import Rotation


class RuledPool(Policies):
    """The reference."""

    # -- asking --------------------------------------------------------------------------------------------------

    def acquire(self, ask: Ask, *, waits: bool, stamp: Moment | None) -> Answer:
        """An answer to who asks; he who waited before comes back to his place in line."""
        answer = self.answer(ask, waits=waits, stamp=stamp)
        if answer[0] not in {"waiting", "busy", "choose"}:  # this is his answer, and no letter is
            self.letters = [letter for letter in self.letters if letter[0] != ask.token]
        return answer

    def answer(self, ask: Ask, *, waits: bool, stamp: Moment | None) -> Answer:
        if stamp and ask.token not in self.leases:
            self.waiters[ask.token] = (stamp, ask)
        self.reclaim()
        before = self.granted(ask)
        if before:
            return before
        if ask.choice and ask.choice not in self.rotations and self.members:
            return ("choose",)
        in_vain = self.in_vain(ask)
        if in_vain:
            self.waiters.pop(ask.token, None)
            return in_vain
        seats = self.take(ask)
        if seats:
            self.waiters.pop(ask.token, None)
            return ("granted", *seats)
        if not waits:
            return ("busy",)
        known = self.waiters.get(ask.token)
        arrival = known[0] if known else (self.now - ask.priority * MINUTE, self.step)
        self.waiters[ask.token] = (arrival, ask)
        return ("waiting",)

    def granted(self, ask: Ask) -> Answer | None:
        """What he was given before, if that still stands; of several, all or none."""
        known = [self.leases[token] for token in ask.tokens if token in self.leases]
        standing = [lease for lease in known if lease.end[0] > self.now and lease.name in self.members]
        for lease in known:
            if lease not in standing:
                self.give_back(lease.token, 0)
        if len(standing) == ask.count:
            return ("granted", *(seat_of(lease.name, lease.number) for lease in standing))
        for lease in standing:
            self.give_back(lease.token, 0, undone=True)
        return None

    def take(self, ask: Ask) -> list[str] | None:
        """The seats that he gets now, if any."""
        if ask.cleans:
            return self.take_to_clean(ask)
        if self.is_paced() or not self.is_within_limit(ask):
            return None
        if ask.count > 1:
            return self.take_several(ask)
        if ask.name:
            return self.take_this(ask, ask.name)
        preferred = self.last_of.get(ask.owner, "") if ask.prefer is True else ask.prefer
        if preferred and preferred in self.members and self.is_for(ask, preferred):
            seats = self.take_this(ask, preferred)
            if seats:
                return seats
        return self.take_next(ask)

    def take_to_clean(self, ask: Ask) -> list[str] | None:
        for _, seat, name, number in self.in_order("dirty"):
            del self.members[name].dirty[number]
            if not self.is_surplus(name, number):
                self.lend(ask.token, name, number, ask, "cleanup")
                return [seat]
        return None

    def take_this(self, ask: Ask, name: str) -> list[str] | None:
        """A seat of this account; those who wait for it come first."""
        while self.members[name].free and not self.is_paced():
            first = self.first_for(name)
            if first is None or first.token == ask.token:
                return [self.hand_out_free(ask, ask.token, name)[1]]
            if first.count > 1:
                return None
            self.tell(first, self.hand_out_free(first, first.token, name))
        return None

    def take_next(self, ask: Ask) -> list[str] | None:
        """The next in turn that he may have; those who wait come first, and what he may not have keeps its turn."""
        rotation, passed, seats = self.rotations[ask.choice], [], None
        while not seats and not self.is_paced() and (name := rotation.next_account()):
            first = self.first_for(name)
            is_own = first is None or first.token == ask.token
            if (first and not is_own and first.count > 1) or (is_own and not self.may_take(ask, name)):
                passed.append(name)
            elif is_own:
                seats = [self.hand_out_free(ask, ask.token, name)[1]]
            else:
                self.tell(first, self.hand_out_free(first, first.token, name))
        for name in reversed(passed):
            rotation.put_back(name)
        return seats

    def may_take(self, ask: Ask, name: str) -> bool:
        return self.is_for(ask, name) and self.is_within_limit(ask)

    def take_several(self, ask: Ask) -> list[str] | None:
        """Seats of the first accounts in turn that he may have and nobody else waits for: all or none."""
        if sum(len(account.free) for account in self.members.values()) < ask.count:
            return None
        rotation, popped, chosen = self.rotations[ask.choice], [], []
        while len(chosen) < ask.count and (name := rotation.next_account()):
            popped.append(name)
            if self.may_take(ask, name) and self.first_for(name) in {None, self.as_waiting(ask)}:
                chosen.append(name)
        if len(chosen) < ask.count:
            chosen = []
        for name in reversed(popped):
            if name not in chosen:
                rotation.put_back(name)
        return [self.hand_out_free(ask, token, name)[1] for token, name in zip(ask.tokens, chosen, strict=False)]

    def as_waiting(self, ask: Ask) -> Ask | None:
        return self.waiters[ask.token][1] if ask.token in self.waiters else None

    def cancel(self, ask: Ask, *, keep: bool) -> Answer:
        """Who gives up; what he was given on the way he keeps, or gives back undone."""
        answer = None
        if keep:
            known = [self.leases.get(token) for token in ask.tokens]
            stands = [lease and lease.end[0] > self.now and lease.name in self.members for lease in known]
            for lease, still in zip(known, stands, strict=True):
                if lease and not still:
                    self.give_back(lease.token, 0)
            if all(stands):
                answer = ("granted", *(seat_of(lease.name, lease.number) for lease in known))
        for token in [] if answer else ask.tokens:
            self.give_back(token, 0, undone=True)
        self.waiters.pop(ask.token, None)
        return answer or ("cancelled",)

    # -- holding -------------------------------------------------------------------------------------------------

    def renew(self, token: str, ttl: int, max_lease: int) -> bool:
        """A lease goes on, as far as its owner's limit allows."""
        lease = self.leases.get(token)
        stands = lease is not None and lease.end[0] > self.now
        if stands:
            limit = (lease.since[0] + max_lease, lease.since[1])
            end = min((self.now + ttl, self.step), limit) if max_lease else (self.now + ttl, self.step)
            stands = end[0] > self.now
            if stands:
                self.leases[token] = replace(lease, end=end)
        self.reclaim()
        return stands

    def reserve(self, ask: Ask, *, force: bool) -> Answer:
        """All seats of an account for somebody; by force, whoever has them."""
        self.reclaim()
        account = self.members.get(ask.name)
        if account is None:
            return ("unknown",)
        if not account.sessions:
            return ("unlocked",)
        holders = [lease for lease in self.held(ask.name) if lease.token.partition("/")[0] != ask.token]
        if holders and not force:
            return ("held", {lease.owner for lease in holders})
        self.withdraw(ask.name)
        highest = max([account.sessions, *(lease.number for lease in holders)])
        for lease in holders:
            del self.leases[lease.token]
        for number in range(1, highest + 1):
            account.resting.pop(number, None)
            account.dirty.pop(number, None)
        seats = range(1, account.sessions + 1)
        for token, number in zip(replace(ask, count=account.sessions).tokens, seats, strict=True):
            self.lend(token, ask.name, number, ask, "reserved")
        return ("granted", *(seat_of(ask.name, number) for number in seats))

    def revoke(self, name: str, owner: str, *, force: bool) -> Answer:
        """What an owner holds of an account is released; by force, what anybody holds."""
        self.reclaim()
        if name not in self.members:
            return ("unknown",)
        ended = [lease for lease in self.held(name) if force or lease.owner == owner]
        for lease in sorted(ended, key=lambda lease: lease.number):
            self.give_back(lease.token, undone=lease.owner != owner)
        return ("done", len(ended))

    # -- health --------------------------------------------------------------------------------------------------

    def report(self, what: str, name: str, rests: int | None) -> Answer:
        """Tells how an account is: 'bad', 'good', 'quarantine', 'restore'."""
        self.reclaim()
        account = self.members.get(name)
        if account is None:
            return ("unknown",)
        if what == "bad":
            account.failures += 1
            if rests:
                self.rest(name, (self.now + rests, self.step))
        elif what != "quarantine":
            account.failures = 0
        too_many = what == "bad" and self.rules.max_failures and account.failures >= self.rules.max_failures
        if (what == "quarantine" or too_many) and not account.is_out:
            self.put_out(name)
        if what == "restore":
            account.uses, account.rests_until = 0, PAST
            was_out, account.is_out = account.is_out, False
            if was_out:
                self.circulate(name, used=True)
        return ("done", account.failures, int(account.is_out))

    def circulate(self, name: str, *, used: bool = False) -> None:
        """Each seat that is nowhere comes free; one that was used may have to be cleaned first."""
        account = self.members[name]
        if not account.sessions:
            self.come_free(name, 1)
            return
        taken = {lease.number for lease in self.held(name)}
        for number in range(1, account.sessions + 1):
            if number not in taken and number not in account.resting and number not in account.dirty:
                if used and self.rules.cleanup:
                    self.become_dirty(name, number)
                else:
                    self.come_free(name, number)

    # -- ruling --------------------------------------------------------------------------------------------------

    def configure(self, **changes: Any) -> None:
        changed = replace(self.rules, **changes)
        if changed == self.rules:
            return
        self.rules = changed
        self.next_hand_out = min(self.next_hand_out, (self.now + (changed.pace or 0), self.step))
        self.reclaim()

    def add(self, name: str, sessions: int, labels: frozenset[str]) -> int:
        """One more account, or one that is known in another shape: its free seats have their turns anew then."""
        self.reclaim()
        account = self.members.get(name)
        if account is None:
            account = self.members[name] = Account(sessions, labels)
            resting, dirty = self.beyond.pop(name, ({}, {}))
            account.resting = {number: back for number, back in resting.items() if back[0] > self.now}
            account.dirty = dirty if self.rules.cleanup else {}
            self.circulate(name)
            return 1
        if (account.sessions, account.labels) != (sessions, labels):
            self.withdraw(name)
            account.sessions, account.labels = sessions, labels
            self.circulate(name)
        return 0

    def remove(self, name: str) -> int:
        """An account is no member any more; those who waited for it alone are told."""
        self.reclaim()
        if name not in self.members:
            return 0
        self.withdraw(name)
        account = self.members.pop(name)
        gone = range(1, max(account.sessions, 1) + 1)  # what rests of seats that there were before them goes on resting
        resting, dirty = (
            {one: at for one, at in seats.items() if one not in gone} for seats in (account.resting, account.dirty)
        )
        self.beyond[name] = (resting, dirty)
        for ask in self.in_line():
            if not self.members or ask.name == name:
                self.tell(ask, ("unknown",) if self.members else ("empty",))
        return 1

    def rename(self, name: str, new: str) -> str:
        """An account by another name is the same; where labels choose, its turn comes at the end."""
        self.reclaim()
        if name not in self.members:
            return "unknown"
        seats = max([1, self.members[name].sessions, *(lease.number for lease in self.held(name))])
        if new in self.members or any(lease.number <= seats for lease in self.held(new)):  # of one that was removed
            return "exists"
        if self.members[name].free:
            self.rotations[""].pass_turn(name, new)
        self.leave(name)
        self.members = {new if one == name else one: account for one, account in self.members.items()}
        if self.members[new].free:
            self.join(new)
        for token, lease in self.leases.items():
            if lease.name == name and lease.end[0] > self.now:
                self.leases[token] = replace(lease, name=new)
        for ask in self.in_line():
            if ask.name == name:
                self.tell(ask, ("unknown",))
        return "done"

    def reset(self) -> None:
        for ask in self.in_line():
            self.tell(ask, ("empty",))
        self.members, self.leases, self.rotations, self.beyond = {}, {}, {"": Rotation()}, {}

    def pass_time(self, ticks: int) -> None:
        self.now += ticks
