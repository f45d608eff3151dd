"""Whatever happens in whatever order under whatever rules, the scripts keep what the reference of the rules promises.

After each step all that there is agrees: who holds what and how long, what is free, rests, is dirty or out, whose turn
is next, who waits in which order. And nobody is left to wait who waits in vain, or could be served: he has been told.

By default the same few histories are tried every time. REDISPOOL_MODEL_HISTORIES=5000 tries so many new ones;
REDISPOOL_MODEL_SHRINK=0 shows the first that fails as it is, and not the shortest.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.model.agreement import Agreement
from tests.model.policies import Ask
from tests.model.rotation import Rotation, Turn
from tests.model.ruled_pool import RuledPool
from tests.model.scripted_rules import ScriptedRules
from tests.model.steps import EVERYTHING, LABELS, NAMES, NEVER_LOCKED, OF_MEMBERS, RULES, STEPS
from tests.model.test_model import HISTORIES, PHASES
from tests.servers import BINARIES

PRESENCE = 3  # ticks that a waiter is taken to live without showing it
_numbers = itertools.count(1)
seen: Counter[object] = Counter()  # answers, what came into mailboxes, how many steps
randoms = st.randoms(use_true_random=True)


class RuledHistories(Agreement, RuleBasedStateMachine):
    """Takes each step on the scripts and on the reference, and compares the answers and then all that there is."""

    client = None

    def __init__(self):
        super().__init__()
        self.client.flushall()
        seen["histories"] += 1
        self.real = ScriptedRules(self.client, f"pool-{next(_numbers)}", {})
        self.model = RuledPool()
        self.asks: dict[str, Ask] = {}
        self.stamps = {}
        self.alive: dict[str, int] = {}
        self.waiting: list[str] = []  # who was told to wait, and knows of no more
        self.dead: set[str] = set()
        self.told: set[str] = set()  # to ask again, since he last did
        self.tokens = itertools.count(1)

    def step(self):
        """Each step is taken in a millisecond of its own, so that what ends in the same tick has an order."""
        time.sleep(0.0015)
        self.model.step += 1

    def both(self, real, model, times=1):
        """Do it; so many times on the server, as whose reply was lost does."""
        expected = model()
        for _ in range(times):
            answer = real()
            assert answer == expected, "the answer is another"
        self.letters_agree()
        seen[expected[0] if isinstance(expected, tuple) else expected] += 1
        return expected

    @staticmethod
    def pick(which, those):
        return those[which % len(those)] if those else None

    def living(self):
        """Those who wait and are there to ask again."""
        return [token for token in self.waiting if token not in self.dead]

    def letters_agree(self):
        """Who waited has his answer, and nobody else has one; what tells him to ask again is noted."""
        letters = [(token, answer) for token, answer in self.real.read_letters() if token not in self.dead]
        for letter in [letter for letter in self.model.letters if letter not in letters]:
            if letter[1] == ("empty",) and letter[0] in self.told:  # he asks again anyway
                self.model.letters.remove(letter)
                self.model.waiters[letter[0]] = (self.stamps[letter[0]], self.asks[letter[0]])
        self.told |= {token for token, answer in letters if answer == ("again",)}
        seen.update(f"letter {answer[0]}" for _, answer in letters)
        finals = [(token, answer) for token, answer in letters if answer != ("again",)]
        assert sorted(finals) == sorted(self.model.letters)
        for token, _ in finals:
            self.waiting.remove(token)
            self.alive.pop(token, None)
        self.model.letters.clear()

    # -- asking --------------------------------------------------------------------------------------------------

    def acquire(self, token, *, waits, times=1):
        ask, stamp = self.asks[token], self.stamps.get(token)
        self.told.discard(token)
        looks_in = -1

        def really():
            nonlocal looks_in
            answer, looks_in = self.real.ask(ask, waits=waits, presence=PRESENCE, stamp=stamp is not None)
            return answer

        answer = self.both(really, lambda: self.model.acquire(ask, waits=waits, stamp=stamp), times)
        if answer == ("choose",):
            self.choose(ask.choice)
            self.acquire(token, waits=waits)
            return
        if token in self.waiting:
            self.waiting.remove(token)
        self.alive.pop(token, None)
        if answer == ("waiting",):
            self.waiting.append(token)
            self.stamps[token] = self.model.waiters[token][0]
            self.alive[token] = self.model.now + PRESENCE
            self.looks_again_in_time(token, looks_in)

    def looks_again_in_time(self, token, looks_in):
        """Who waits was told to look again no later than when something may come free by itself."""
        model = self.model
        ends = [lease.end[0] for lease in model.leases.values()]
        ends += [back[0] for account in model.members.values() for back in account.resting.values() if account.sessions]
        assert not ends or 0 <= looks_in <= max(min(ends) - model.now, 0)
        if looks_in == 0:
            self.told.add(token)

    def choose(self, choice):
        """Labels that nobody asked for before get a rotation: of all that carry them and are free, in any order."""
        names = self.real.choose(choice)
        self.model.rotations[choice] = Rotation()
        carriers = [name for name in self.model.members if choice in dict(self.model.rotations_of(name))]
        assert sorted(names) == sorted(name for name in carriers if self.model.members[name].free)
        self.model.rotations[choice].turns = [Turn(name) for name in names]
        self.letters_agree()

    def new_ask(self, owner, ttl, **wanted):
        token = f"t{next(self.tokens):04}"
        self.asks[token] = Ask(token, owner, ttl, **wanted)
        return token

    @initialize(random=randoms)
    def begin(self, random):
        if random.random() < 0.4:
            self.model.configure(cleanup=True)
            self.real.configure(cleanup=True)
        for name in random.sample(NAMES, random.randint(1, 6)):
            self.add(name, {"d": 2, "e": 3}.get(name, 1), random.choice(LABELS))

    @rule(random=randoms)
    def act(self, random):
        """Something that somebody can do now."""
        before = self.model.step
        while self.model.step == before:
            ((_, name, choices),) = random.choices(STEPS, [weight for weight, _, _ in STEPS])
            arguments = {argument: random.choice(values) for argument, values in choices.items()}
            if name in OF_MEMBERS and arguments["name"] not in self.model.members and random.random() < 0.8:
                continue
            try:
                getattr(self, name)(**arguments)
            finally:
                if self.model.step != before:
                    seen["steps"] += 1
                    note(f"{name} {arguments}")

    def ask(self, owner, ttl, name, labels, exclude, prefer, patient, priority, what, waits, times):
        self.step()
        chosen = {"name": name} if what == "this" else {"exclude": frozenset(exclude), "prefer": prefer}
        if what == "labels":
            chosen["labels"] = labels
        token = self.new_ask(owner, ttl, patient=patient, priority=priority, **chosen)
        self.acquire(token, waits=waits, times=1 if priority or NEVER_LOCKED in self.model.members else times)

    def wait_in_line(self, owner, ttl, labels, priority):
        self.step()
        self.acquire(self.new_ask(owner, ttl, labels=labels, priority=priority), waits=True)

    def ask_for_several(self, owner, ttl, labels, exclude, count, patient, waits, priority):
        self.step()
        wanted = {"labels": labels, "exclude": frozenset(exclude), "patient": patient, "priority": priority}
        self.acquire(self.new_ask(owner, ttl, count=count, **wanted), waits=waits)

    def ask_to_clean(self, owner, ttl, waits, times):
        self.step()
        self.acquire(self.new_ask(owner, ttl, cleans=True), waits=waits, times=times)

    def ask_again(self, who):
        if token := self.pick(who, self.living()):
            self.step()
            self.acquire(token, waits=True)

    def all_who_were_told_ask_again(self):
        for token in [token for token in self.living() if token in self.told]:
            if token in self.waiting:
                self.step()
                self.acquire(token, waits=True)

    def give_up(self, who, keep, times):
        given = [token for token in self.asks if token in self.model.leases]
        waiting = self.living()
        if token := self.pick(who, waiting if who % 4 else given):
            self.step()
            ask = self.asks[token]
            if token in self.waiting:
                self.waiting.remove(token)
            self.both(lambda: self.real.give_up(ask, keep=keep), lambda: self.model.cancel(ask, keep=keep), times)
            self.alive.pop(token, None)

    def die(self, who):
        if token := self.pick(who, self.living()):
            self.step()
            self.real.die(token)
            self.is_dead(token)

    def is_dead(self, token):
        self.dead.add(token)
        self.told |= set(self.waiting)  # nobody sees him go: those behind him learn it when they ask again
        self.alive.pop(token, None)
        self.model.waiters.pop(token, None)

    def come_back(self, who):
        if token := self.pick(who, sorted(self.dead)):
            self.step()
            self.real.read_letters()
            self.dead.discard(token)
            self.acquire(token, waits=True)

    # -- holding -------------------------------------------------------------------------------------------------

    def tokens_of_users(self):
        """Those of leases that somebody has a handle for; a reservation is known by the account's name only."""
        return [lease.token for lease in self.model.leases.values() if lease.purpose != "reserved"]

    def release(self, who, cooldown, times):
        if token := self.pick(who, self.tokens_of_users()):
            self.step()
            assert self.real.let_go(token, cooldown) == self.model.give_back(token, cooldown)
            self.letters_agree()
            if times > 1:
                assert not self.real.let_go(token, cooldown)

    def renew(self, who, ttl, max_lease):
        if token := self.pick(who, self.tokens_of_users()):
            self.step()
            self.both(
                lambda: self.real.renew_within(token, ttl, max_lease), lambda: self.model.renew(token, ttl, max_lease)
            )

    def release_an_owner(self, owner):
        self.step()
        self.model.reclaim()
        mine = {lease.token for lease in self.model.leases.values() if lease.owner == owner}
        assert self.real.owned(owner) == mine
        self.letters_agree()
        for token in sorted(mine):
            self.step()
            self.both(lambda: self.real.let_go(token, None), lambda: self.model.give_back(token))  # noqa: B023

    def reserve(self, name, owner, ttl, force, times):
        self.step()
        ask = Ask(f"t{next(self.tokens):04}", owner, ttl, name)
        expected = self.model.reserve(ask, force=force)
        for _ in range(times):
            answer = self.real.reserve(ask, force=force)
            assert answer == expected or (answer[0] == expected[0] == "held" and answer[1] in expected[1])
        seen[expected[0]] += 1
        self.letters_agree()

    def release_by_name(self, name, owner, force, times):
        self.step()
        token = f"t{next(self.tokens):04}"
        self.both(
            lambda: self.real.revoke(name, owner, token, force=force),
            lambda: self.model.revoke(name, owner, force=force),
            times if self.model.held(name) else 1,
        )

    def time_passes(self, by):
        self.step()
        self.real.pass_time(by)
        self.model.pass_time(by)
        for name in self.waiting:
            if self.alive.get(name, 0) <= self.model.now and name not in self.dead:
                self.is_dead(name)
        self.told |= set(self.waiting)  # his slice has ended meanwhile

    def somebody_looks(self):
        self.step()
        self.model.reclaim()
        free = sum(len(account.free) for account in self.model.members.values())
        assert self.real.reclaim() == (len(self.model.members), free)
        self.letters_agree()

    # -- ruling --------------------------------------------------------------------------------------------------

    def restore(self, name, times):
        if name in self.model.members and self.model.members[name].is_out:
            self.report("restore", name, None, times)

    def report(self, what, name, rests, times):
        self.step()
        rests = rests if what == "bad" else None
        token = f"t{next(self.tokens):04}"
        self.both(lambda: self.real.tell(what, name, rests, token), lambda: self.model.report(what, name, rests), times)

    def configure(self, rule, value):
        self.step()
        changes = {rule: RULES[rule][value % len(RULES[rule])]}
        self.both(lambda: self.real.configure(**changes), lambda: self.model.configure(**changes))

    def add(self, name, sessions, labels):
        self.step()
        count = 0 if name == NEVER_LOCKED else sessions
        self.both(lambda: self.real.add_account(name, count, labels), lambda: self.model.add(name, count, labels))

    def remove(self, which):
        if name := self.pick(which, list(self.model.members)):
            self.step()
            self.both(lambda: self.real.remove(name), lambda: self.model.remove(name))

    def rename(self, which, new):
        name = self.pick(which, list(self.model.members))
        if name and name != new and NEVER_LOCKED not in {name, new}:
            self.step()
            self.both(lambda: self.real.rename(name, new), lambda: self.model.rename(name, new))

    def reset(self):
        self.step()
        self.both(self.real.reset, self.model.reset)

    # -- comparing -----------------------------------------------------------------------------------------------

    @invariant()
    def all_agree(self):
        self.check()


@pytest.mark.parametrize("kind", [kind for kind, binary in BINARIES.items() if binary])
@pytest.mark.timeout(180 + 5 * HISTORIES)
def test_the_scripts_keep_what_the_reference_of_the_rules_promises(kind, own_server, monkeypatch):
    server = own_server(kind)
    with server.client() as client:
        monkeypatch.setattr(RuledHistories, "client", client)
        seen.clear()
        run_state_machine_as_test(
            RuledHistories,
            settings=settings(
                max_examples=HISTORIES or 40,
                stateful_step_count=60,
                derandomize=not HISTORIES,
                phases=PHASES,
                database=None,
                deadline=None,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    print(dict(seen))
    assert set(seen) >= EVERYTHING, "the histories are too tame"
