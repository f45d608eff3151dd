"""Whatever happens in whatever order, the scripts do what the reference does, and every seat is in one place.

By default the same few histories are tried every time. REDISPOOL_MODEL_HISTORIES=5000 tries so many new ones;
REDISPOOL_MODEL_SHRINK=0 shows the first that fails as it is, and not the shortest.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests import invariants
from tests.model.reference import Pool, Request, name_of_seat
from tests.model.scripted_pool import NAMESPACE, ScriptedPool, letter
from tests.servers import BINARIES

HISTORIES = int(os.environ.get("REDISPOOL_MODEL_HISTORIES", "0"))
PHASES = [Phase.generate, Phase.shrink] if os.environ.get("REDISPOOL_MODEL_SHRINK") != "0" else [Phase.generate]
PRESENCE = 3  # ticks that a waiter is taken to live without showing it
SESSIONS = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 3, "f": 0}  # that of a name, and of the same with '-new' after it
ALL = SESSIONS | {f"{name}-new": count for name, count in SESSIONS.items()}
_numbers = itertools.count(1)

some_name = st.sampled_from(["a", "a", "b", "b", "c", "c", "d", "d", "e", "f"])
some_want = st.one_of(st.just(""), st.just(""), some_name)
somebody = st.integers(0, 40)
ttls = st.integers(1, 4)
twice = st.sampled_from([1, 1, 1, 2])


class Histories(RuleBasedStateMachine):
    """Takes each step on the scripts and on the reference, and compares the answers and then all that there is."""

    client = None

    def __init__(self):
        super().__init__()
        self.client.flushall()
        self.real = ScriptedPool(self.client, f"pool-{next(_numbers)}", ALL)
        self.model = Pool(dict(ALL))
        self.asked: dict[str, tuple[Request, int]] = {}  # and with what priority
        self.waiting: list[str] = []  # who was told to wait, and knows of no more
        self.dead: set[str] = set()

    def step(self):
        """Each step is taken in a millisecond of its own, so that what ends in the same tick has an order."""
        time.sleep(0.0015)
        self.model.step += 1

    def both(self, times, real, model):
        """Do it so many times, as whose reply was lost does."""
        for _ in range(times):
            answer = real()
            assert answer == model(), "the answer is another"
        return answer

    def names_of(self, tokens):
        return [token for token in tokens if token not in self.dead]

    @staticmethod
    def pick(which, tokens):
        return tokens[which % len(tokens)] if tokens else None

    # -- asking --------------------------------------------------------------------------------------------------

    def acquire(self, token, times, *, wait, stamp):
        asked, priority = self.asked[token]
        known = stamp and self.stamps[token]
        answer = self.both(
            times,
            lambda: self.real.acquire(asked, wait=wait, presence=PRESENCE, priority=priority, stamp=bool(known)),
            lambda: self.model.acquire(asked, wait=wait, presence=PRESENCE, priority=priority, stamp=known),
        )
        if answer[0] != "waiting" and token in self.waiting:
            self.waiting.remove(token)
        elif answer[0] == "waiting":
            self.stamps[token] = self.model.requests[token].stamp
            if token not in self.waiting:
                self.waiting.append(token)

    @initialize(names=st.sets(some_name, min_size=1, max_size=4))
    def begin(self, names):
        self.stamps = {}
        for name in sorted(names):
            self.add(name, 1)

    @rule(
        want=some_want, ttl=ttls, wait=st.booleans(), priority=st.sampled_from([0, 0, 0, 1]), who=somebody, times=twice
    )
    def ask(self, want, ttl, wait, priority, who, times):
        self.step()
        token = f"t{len(self.asked):04}"
        self.asked[token] = (Request(token, want, f"owner-{who % 3}", ttl), priority)
        self.acquire(token, 1 if self.someone_needs_no_lock() else times, wait=wait, stamp=False)

    @rule(want=some_want, ttl=ttls, who=somebody)
    def wait_in_line(self, want, ttl, who):
        self.ask(want, ttl, True, 0, who, 1)

    def someone_needs_no_lock(self):
        """Whether each answer may be another: nobody remembers who got what is never locked."""
        return any(self.model.sessions[name] == 0 for name in self.model.members)

    @rule(who=somebody, times=twice)
    def ask_again(self, who, times):
        if token := self.pick(who, self.names_of(self.waiting)):
            self.step()
            self.acquire(token, 1 if self.someone_needs_no_lock() else times, wait=True, stamp=True)

    @rule(who=somebody, wait=st.booleans())
    def a_request_arrives_once_more(self, who, wait):
        if token := self.pick(who, list(self.asked)):
            self.step()
            self.acquire(token, 1, wait=wait or token in self.model.requests, stamp=False)

    @rule(who=somebody)
    def read_mail(self, who):
        if token := self.pick(who, self.names_of(self.waiting)):
            self.step()
            mail = self.model.mail.get(token)
            expected = mail.letters.pop(0) if mail else None
            if mail and not mail.letters:
                del self.model.mail[token]
            assert self.real.read_mail(token) == expected
            if expected and expected[0] != "again":
                self.waiting.remove(token)

    @rule(who=somebody, keep=st.booleans(), times=twice)
    def give_up(self, who, keep, times):
        if token := self.pick(who, self.names_of(self.waiting)):
            self.step()
            asked, _ = self.asked[token]
            self.both(times, lambda: self.real.cancel(asked, keep=keep), lambda: self.model.cancel(token, keep=keep))
            self.waiting.remove(token)

    @rule(who=somebody, at_once=st.booleans())
    def die(self, who, at_once):
        if token := self.pick(who, self.names_of(self.waiting)):
            self.dead.add(token)
            if at_once:  # else it is taken to live for a while
                self.real.die(token)
                self.model.alive.pop(token, None)

    @rule(who=somebody)
    def come_back(self, who):
        if token := self.pick(who, sorted(self.dead)):
            self.dead.discard(token)

    # -- holding -------------------------------------------------------------------------------------------------

    @rule(who=somebody, cooldown=st.sampled_from([0, 0, 0, 1, 3]), times=twice)
    def release(self, who, cooldown, times):
        if token := self.pick(who, list(self.model.leases)):
            self.step()
            real, model = self.real, self.model
            self.both(times, lambda: real.release(token, cooldown), lambda: model.give_back(token, cooldown))

    @rule(who=somebody)
    def release_late(self, who):
        if token := self.pick(who, list(self.asked)):
            self.step()
            self.both(1, lambda: self.real.release(token, 0), lambda: self.model.give_back(token))

    @rule(who=somebody, ttl=ttls, times=twice)
    def renew(self, who, ttl, times):
        if token := self.pick(who, list(self.asked)):
            self.step()
            self.both(times, lambda: self.real.renew(token, ttl), lambda: self.model.renew(token, ttl))

    @rule(who=somebody)
    def release_an_owner(self, who):
        self.step()
        owner = f"owner-{who % 3}"
        self.model.reclaim()
        mine = {lease.token for lease in self.model.leases.values() if lease.owner == owner}
        assert self.real.owned(owner) == mine
        for token in sorted(mine):
            assert self.real.release(token, 0) == self.model.give_back(token)

    @rule(ticks=st.integers(1, 4))
    def time_passes(self, ticks):
        self.real.pass_time(ticks)
        self.model.pass_time(ticks)

    @rule()
    def somebody_looks(self):
        self.step()
        self.model.reclaim()
        assert self.real.reclaim() == (len(self.model.members), self.model.free_seats())

    # -- ruling --------------------------------------------------------------------------------------------------

    @rule(name=some_name, times=twice)
    def add(self, name, times):
        if f"{name}-new" not in self.model.members:
            self.step()
            self.both(times, lambda: self.real.add(name), lambda: self.model.add(name))

    @rule(which=somebody, times=twice)
    def remove(self, which, times):
        if name := self.pick(which, self.model.members):
            self.step()
            self.both(times, lambda: self.real.remove(name), lambda: self.model.remove(name))

    @rule(which=somebody)
    def rename(self, which):
        if name := self.pick(which, self.model.members):
            self.step()
            new = name.removesuffix("-new") if name.endswith("-new") else f"{name}-new"
            self.both(1, lambda: self.real.rename(name, new), lambda: self.model.rename(name, new))

    @rule(name=some_name, number=st.integers(0, 10**9))
    def quarantine(self, name, number):
        self.step()
        self.both(1, lambda: self.real.report("quarantine", name, str(number)), lambda: self.model.quarantine(name))

    @rule(which=somebody, number=st.integers(0, 10**9))
    def restore(self, which, number):
        if name := self.pick(which, sorted(self.model.quarantined)):
            self.step()
            self.both(1, lambda: self.real.report("restore", name, f"r{number}"), lambda: self.model.restore(name))

    @rule(sure=st.integers(0, 5))
    def reset(self, sure):
        if sure == 5:
            self.step()
            self.real.reset()
            self.model.reset()

    # -- comparing -----------------------------------------------------------------------------------------------

    @invariant()
    def all_agree(self):
        shot = invariants.check(self.client, NAMESPACE, self.real.pool, strict=False)
        model = self.model
        assert shot.members == model.members
        seen, turns = Counter(), []
        for name in shot.rotation:
            seen[name] += 1
            turns.append((name, seen[name] != shot.places[name]))
        assert turns == [(turn.name, turn.stale) for turn in model.rotation.turns]
        assert {name: [int(one) for one in free] for name, free in shot.idle.items()} == {
            name: free for name, free in model.idle.items() if free
        }
        held = {lease.token: (name_of_seat(lease.seat), lease.owner, lease.fence) for lease in model.leases.values()}
        assert shot.held == held
        assert list(shot.leases) == [lease.token for lease in model.by_end()]
        locks = {name_of_seat(lease.seat): lease.token for lease in model.leases.values() if lease.end > model.now}
        assert shot.locks == locks
        assert list(shot.cooling) == [name_of_seat(seat) for seat in model.resting()]
        self.who_waits_agrees(shot)

    def who_waits_agrees(self, shot):
        model = self.model
        wants = {request.want for request in model.requests.values()}
        assert {want: list(queue) for want, queue in shot.queues.items() if queue} == {
            want: [request.token for request in model.queue(want)] for want in wants
        }
        assert shot.alive == set(model.alive)
        mail = {
            box: [letter(one) for one in self.client.lrange(f"{self.real.start}mail:{box}", 0, -1)]
            for box in shot.mailboxes
        }
        assert mail == {token: mail.letters for token, mail in model.mail.items()}


@pytest.mark.parametrize("kind", [kind for kind, binary in BINARIES.items() if binary])
@pytest.mark.timeout(180 + HISTORIES)
def test_the_scripts_do_what_the_reference_does(kind, own_server, monkeypatch):
    server = own_server(kind)
    with server.client() as client:
        monkeypatch.setattr(Histories, "client", client)
        run_state_machine_as_test(
            Histories,
            settings=settings(
                max_examples=HISTORIES or 60,
                stateful_step_count=60,
                derandomize=not HISTORIES,
                phases=PHASES,
                database=None,
                deadline=None,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
