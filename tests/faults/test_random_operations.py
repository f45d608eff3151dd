"""Thousands of random steps, many taken twice; after each, every seat is in one place and nobody was overtaken."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from typing import Any

import pytest

from redispool.account import hash_of_name
from redispool.connect import private_client
from redispool.drivers import Wire
from redispool.protocol import scripts
from redispool.protocol.commands import Call
from redispool.protocol.keys import PoolKeys
from tests import invariants
from tests.model.passing_time import end_presence

NAMES = ["a", "b", "c", "d"]
LABELS = ["\tsite=x\t", "\ttier=1\t"]
CLEANUP = "\tcleanup\t"
STEPS = 250


def is_locked(grant: bytes) -> bool:
    """Whether what was granted has a lease; else the account is never locked."""
    return grant.split(b"\n")[5] != b"0"


@dataclass
class Actor:
    """Somebody who asked for an account."""

    token: str
    want: str
    count: int = 1
    stamp: bytes = b""
    state: str = "asking"


class Chaos:
    """Takes random steps on one pool, by its scripts."""

    def __init__(self, client: Any, pool: str, kind: str, seed: int) -> None:
        self.kind = kind
        self.client, self.pool = client, pool
        self.wire = Wire(private_client(client))
        self.keys = PoolKeys("chaos", pool)
        self.random = random.Random(seed)
        self.actors: list[Actor] = []
        self.count = 0
        self.fence = 0
        self.waiting: set[str] = set()  # who waited before the last step
        self.history: list[Any] = []

    def call(self, script: scripts.Script, *arguments: Any, twice: bool = True) -> list[Any]:
        """Run a script, and now and then once more, as a client does whose reply was lost."""
        self.history.append((script.name, *arguments))
        command = Call(script, self.keys.meta, (scripts.PROTOCOL_VERSION, "1", *arguments))
        reply = self.wire.perform(command)
        if twice and self.random.random() < 0.3:
            again = self.wire.perform(command)
            if reply[0] in {b"busy", b"waiting"}:  # something may have come back by itself meanwhile
                return again
            assert again[0] == reply[0], f"{reply} and {again}"
            if reply[0] == b"granted":
                assert again[2].split(b"\n")[:4] == reply[2].split(b"\n")[:4]
        return reply

    def those(self, state: str) -> list[Actor]:
        return [actor for actor in self.actors if actor.state == state]

    def pick(self, state: str) -> Actor | None:
        found = self.those(state)
        return self.random.choice(found) if found else None

    # -- steps ---------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        self.count += 1
        wanted = ["", "", "", *NAMES]
        if self.kind == "policies":
            wanted += [*LABELS, LABELS[0] + LABELS[1][1:], CLEANUP]
        actor = Actor(f"t{self.count}", self.random.choice(wanted))
        if self.kind == "policies" and actor.want not in {*NAMES, CLEANUP} and self.random.random() < 0.15:
            actor.count = 2
        self.actors.append(actor)
        self.ask_for(actor, self.random.random() < 0.7)

    def ask_again(self) -> None:
        if actor := self.pick("waiting"):
            self.ask_for(actor, wait=True)

    def ask_for(self, actor: Actor, wait: bool) -> None:
        priority = self.random.choice([0, 0, 0, 60_000_000])
        options = '{"count":2}' if actor.count == 2 else ""
        owner = f"o{len(actor.token) + int(actor.token[1:]) % 3}"  # the same each time
        reply = self.call(
            scripts.ACQUIRE, owner, 60_000, 60_000, actor.want, "" if wait else "0",
            "", priority, actor.stamp, options, actor.token,
            twice=not self.some_need_no_lock(),
        )  # fmt: skip
        if reply[0] == b"choose":
            while reply != [b"0"]:
                reply = self.call(
                    scripts.CHOOSE, actor.want, "0" if reply[0] == b"choose" else reply[0], 10, twice=False
                )
            self.ask_for(actor, wait)
        elif reply[0] == b"granted":
            assert len(reply) == 2 + actor.count
            actor.state = "held" if any(map(is_locked, reply[2:])) else "gone"
        elif reply[0] == b"waiting":
            actor.state, actor.stamp = "waiting", reply[1]
        else:
            assert reply[0] in {b"busy", b"empty", b"unknown", b"exhausted", b"too many", b"no cleanup"}, reply
            assert not (wait and reply[0] == b"busy"), "a waiter was not let into the queue"
            actor.state = "gone"

    def some_need_no_lock(self) -> bool:
        """Whether the answer may be another each time: nobody remembers who got what is never locked."""
        records = self.client.hvals(self.keys.meta[:-4] + "accounts")
        return any(record.startswith(b"0") for record in records)

    def read_mail(self) -> None:
        for actor in self.those("waiting"):
            mail = self.client.lpop(self.keys.mailbox(actor.token))
            if mail:
                kind, token, *_ = mail.split(b"\n")
                assert token.decode() == actor.token
                if kind == b"again":
                    self.ask_for(actor, wait=True)
                else:
                    actor.state = "held" if kind == b"granted" and is_locked(mail) else "gone"

    def die(self) -> None:
        if actor := self.pick("waiting"):
            if self.client.hexists(self.keys.meta[:-4] + "requests", actor.token):
                end_presence(self.client, self.keys.meta[:-4], actor.token)
            actor.state = self.random.choice(["gone", "waiting"])  # or it was only slow

    def cancel(self) -> None:
        if actor := self.pick("waiting"):
            grants = self.random.choice(["keep", "return"])
            reply = self.call(scripts.CANCEL, actor.token, actor.token, grants, actor.want, actor.count)
            actor.state = "held" if reply[0] == b"granted" else "gone"

    def release(self) -> None:
        if actor := self.pick("held"):
            cooldown = 0 if self.kind == "simple" else self.random.choice(["", 0, 3])
            tokens = [actor.token, f"{actor.token}/2"][: actor.count]
            self.call(scripts.RELEASE, cooldown, *tokens, twice=False)
            self.call(scripts.RELEASE, 0, *tokens, twice=False)
            actor.state = "gone"

    def expire(self) -> None:
        if actor := self.pick("held"):
            self.call(scripts.RENEW, actor.token, 1, 0, twice=False)
            time.sleep(0.003)
            actor.state = self.random.choice(["gone", "held"])  # dead, or late to release

    def release_owner(self) -> None:
        owners = [owner for _, owner, _ in invariants.snapshot(self.client, "chaos", self.pool).held.values()]
        kind, *tokens = self.call(scripts.OWNED, self.random.choice(owners or ["o"]), 10, twice=False)
        if kind == b"unlisted":
            self.call(scripts.ENLIST, twice=False)
        if tokens:
            self.call(scripts.RELEASE, 0, *tokens, twice=False)

    def add(self) -> None:
        name = self.random.choice(NAMES)
        sessions = 1 if self.kind == "simple" else self.random.choice([1, 1, 1, 2, 3, 0])
        labels = "".join(self.random.sample(LABELS, 2)).replace("\t\t", "\t") if self.kind == "policies" else ""
        if labels and self.random.random() < 0.5:
            labels = self.random.choice(LABELS)
        self.call(scripts.ADD, name, hash_of_name(name), f"{sessions}{labels}\n{{}}".encode(), twice=False)

    def remove(self) -> None:
        name = self.random.choice(NAMES)
        self.call(scripts.REMOVE, name, hash_of_name(name), twice=False)

    def rename(self) -> None:
        name, new = self.random.sample(NAMES, 2)
        if record := self.client.hget(self.keys.meta[:-4] + "accounts", name):
            self.call(scripts.REPLACE, name, hash_of_name(name), record, new, hash_of_name(new), record)

    def reset(self) -> None:
        self.call(scripts.RESET, 0)

    def report(self) -> None:
        what = self.random.choice(["bad", "good", "quarantine", "restore", "restore"])
        self.count += 1
        rests = self.random.choice(["", 3]) if what == "bad" else ""
        self.call(scripts.HEALTH, what, self.random.choice(NAMES), "why", "who", rests, f"report-{self.count}")

    def configure(self) -> None:
        policy = {
            "cleanup": self.random.choice([True, False, False]),
            "min_interval": self.random.choice([3, False, False]),
            "max_per_owner": self.random.choice([2, False, False]),
            "max_uses": self.random.choice([5, False, False]),
            "max_failures": self.random.choice([2, False]),
            "cooldown": self.random.choice([2, False, False]),
        }
        if self.call(scripts.CONFIGURE, json.dumps(policy), twice=False) == [b"unlisted"]:
            self.call(scripts.ENLIST, twice=False)

    def lock_by_hand(self) -> None:
        lock = f"{self.keys.meta[:-4]}lock:{self.random.choice(NAMES)}"
        self.history.append(("SET", lock))
        self.client.set(lock, f"operator-{self.count}", px=self.random.choice([1, 10]), nx=True)

    def wait(self) -> None:
        time.sleep(0.004)
        self.call(scripts.INSPECT, 0, 10, twice=False)

    # -- checks --------------------------------------------------------------------------------------------------

    def step(self) -> None:
        weights = {
            self.ask: 30, self.ask_again: 10, self.read_mail: 15, self.die: 3, self.cancel: 5, self.release: 25,
            self.expire: 5, self.release_owner: 2, self.add: 12, self.remove: 3, self.rename: 4, self.reset: 1,
            self.wait: 5, self.lock_by_hand: 2,
        }  # fmt: skip
        if self.kind == "policies":
            weights |= {self.report: 8, self.configure: 3}
        (chosen,) = self.random.choices(list(weights), list(weights.values()))
        chosen()
        self.check()

    def check(self) -> None:
        terms = {"strict": False, "barred": self.kind == "policies", "most_accounts": len(NAMES)}
        try:
            shot = invariants.check(self.client, "chaos", self.pool, **terms)
        except AssertionError:
            time.sleep(0.02)  # what expired by itself meanwhile
            self.wait()
            shot = invariants.check(self.client, "chaos", self.pool, **terms)
        stamps = {token: stamp for queue in shot.queues.values() for token, stamp in queue.items()}
        newest = self.fence
        for token, (seat, _, fence) in shot.held.items():
            name = invariants.account_of(seat)
            if fence <= self.fence:
                continue
            newest = max(newest, fence)
            if name not in shot.sessions:
                continue  # granted to a waiter and then removed, in one step
            in_use = sum(invariants.account_of(one) == name for one in shot.locks)
            assert in_use <= max(shot.sessions[name], 1), f"{name} is granted beyond its sessions"
            mine = next((float(actor.stamp) for actor in self.actors if actor.token == token and actor.stamp), None)
            overtaken = [
                other for other in self.waiting & shot.alive
                if shot.requests[other][1] in {"", name} and mine is not None and stamps[other] < mine
            ]  # fmt: skip
            assert terms["barred"] or not overtaken, f"{token} overtook {overtaken}"
        self.fence = newest
        self.waiting = shot.alive


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["simple", "several", "policies"])
def test_after_any_history_every_seat_is_in_one_place_and_nobody_was_overtaken(client, pool_name, kind, seed):
    chaos = Chaos(client, f"{pool_name}-{seed}", kind, seed)
    try:
        for _ in range(STEPS):
            chaos.step()
    except AssertionError as error:
        error.add_note(f"{kind}, seed {seed}, the last steps: {chaos.history[-12:]}")
        raise
