"""Compares all that there is of a pool on a server with what the reference of the rules says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests import invariants
from tests.model.scripted_pool import NAMESPACE, TICK

if TYPE_CHECKING:
    import redis

    from tests.model.ruled_pool import RuledPool
    from tests.model.scripted_rules import ScriptedRules


class Agreement:
    """What somebody has who compares: both pools, and what he knows of those who wait."""

    client: redis.Redis
    real: ScriptedRules
    model: RuledPool
    alive: dict[str, int]
    told: set[str]

    def check(self):
        """Everything; who waits in vain, or could be served, has been told to ask again."""
        model = self.model
        shot = invariants.check(self.client, NAMESPACE, self.real.pool, strict=False, barred=True)
        assert shot.members == list(model.members)
        turns = {"": self.turns_in(shot.rotation, shot.places)}
        turns |= {choice: self.turns_in(names, shot.chosen_places[choice]) for choice, names in shot.chosen.items()}
        assert turns == {
            choice: [(turn.name, turn.stale) for turn in rotation.turns] for choice, rotation in model.rotations.items()
        }
        several = {name: account.free for name, account in model.members.items() if account.sessions > 1}
        assert {name: [int(one) for one in free] for name, free in shot.idle.items()} == {
            name: free for name, free in several.items() if free
        }
        assert shot.quarantine == {name for name, account in model.members.items() if account.is_out}
        self.leases_agree(shot)
        self.rests_agree(shot)
        self.who_waits_agrees(shot)

    @staticmethod
    def turns_in(names, places):
        seen, turns = Counter(), []
        for name in names:
            seen[name] += 1
            turns.append((name, seen[name] != places[name]))
        return turns

    def leases_agree(self, shot):
        model = self.model
        by_end = sorted(model.leases.values(), key=lambda lease: (lease.end, lease.token))
        assert list(shot.leases) == [lease.token for lease in by_end]
        held = {token: (seat, owner) for token, (seat, owner, _) in shot.held.items()}
        assert held == {lease.token: (invariants.seat_of(lease.name, lease.number), lease.owner) for lease in by_end}
        left = {token: max(-(-(end - shot.now) // TICK), 0) for token, end in shot.leases.items()}
        assert left == {lease.token: max(lease.end[0] - model.now, 0) for lease in by_end}
        purposes = {token.decode(): entry.split(b"\n")[4] for token, entry in self.held_entries().items()}
        assert {token: purpose.partition(b":")[0].decode() for token, purpose in purposes.items()} == {
            lease.token: lease.purpose for lease in by_end
        }
        assert len({fence for _, _, fence in shot.held.values()}) == len(shot.held)

    def held_entries(self):
        return self.client.hgetall(self.real.start + "held")

    def rests_agree(self, shot):
        model = self.model
        seats = {
            invariants.seat_of(name, number)
            for name, account in model.members.items()
            for number in range(1, account.sessions + 1)
        }
        cooling = [(seat, -(-(back - shot.now) // TICK)) for seat, back in shot.cooling.items() if seat in seats]
        rests = [(seat, back[0] - model.now) for back, seat, _, _ in model.in_order("resting") if seat in seats]
        assert [(seat, max(left, 0)) for seat, left in cooling] == [(seat, max(left, 0)) for seat, left in rests]
        assert [seat for seat in shot.dirty if seat in seats] == [
            seat for _, seat, _, _ in model.in_order("dirty") if seat in seats
        ]
        health = {name.decode(): int(count) for name, count in self.client.hgetall(self.real.start + "health").items()}
        assert {name: count for name, count in health.items() if count} == {
            f"{what}:{name}": count
            for name, account in model.members.items()
            for what, count in (("failures", account.failures), ("uses", account.uses))
            if count
        }

    def who_waits_agrees(self, shot):
        model = self.model
        stamps = {token: stamp for queue in shot.queues.values() for token, stamp in queue.items()}
        living = [token for token, (box, _, _) in shot.requests.items() if box in shot.alive]
        assert sorted(living, key=stamps.get) == [ask.token for ask in model.in_line()]
        assert shot.alive == set(self.alive) == set(model.waiters)
        passes_on = False  # somebody before has been told that he waits in vain: as he goes, those behind him are told
        for ask in model.in_line():
            in_vain = model.in_vain(ask)
            if ask.token in self.told:
                passes_on = passes_on or bool(in_vain)
            else:
                assert not in_vain, f"{ask} waits in vain, and was not told"
                assert passes_on or not model.could_be_served(ask), f"{ask} could be served, and was not told"
