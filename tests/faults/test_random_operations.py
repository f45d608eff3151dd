"""Thousands of random steps, many taken twice; after each, every seat is in one place and nobody was overtaken."""

from __future__ import annotations

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

NAMES = ["a", "b", "c", "d"]
STEPS = 250


@dataclass
class Actor:
    """Somebody who asked for an account."""

    token: str
    want: str
    stamp: bytes = b""
    state: str = "asking"


class Chaos:
    """Takes random steps on one pool, by its scripts."""

    def __init__(self, client: Any, pool: str, seed: int) -> None:
        self.client, self.pool = client, pool
        self.wire = Wire(private_client(client))
        self.keys = PoolKeys("chaos", pool)
        self.random = random.Random(seed)
        self.actors: list[Actor] = []
        self.count = 0
        self.fence = 0
        self.history: list[Any] = []

    def call(self, script: scripts.Script, *arguments: Any, twice: bool = True) -> list[Any]:
        """Run a script, and now and then once more, as a client does whose reply was lost."""
        self.history.append((script.name, *arguments))
        command = Call(script, self.keys.meta, (scripts.PROTOCOL_VERSION, "1", *arguments))
        reply = self.wire.perform(command)
        if twice and self.random.random() < 0.3:
            again = self.wire.perform(command)
            if reply[0] == b"busy":  # something may have expired meanwhile
                return again
            assert again[0] == reply[0], f"{reply} and {again}"
            if reply[0] == b"granted":
                assert again[1].split(b"\n")[:4] == reply[1].split(b"\n")[:4]
        return reply

    def those(self, state: str) -> list[Actor]:
        return [actor for actor in self.actors if actor.state == state]

    def pick(self, state: str) -> Actor | None:
        found = self.those(state)
        return self.random.choice(found) if found else None

    # -- steps ---------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        self.count += 1
        actor = Actor(f"t{self.count}", self.random.choice(["", "", "", *NAMES]))
        self.actors.append(actor)
        self.ask_for(actor, self.random.random() < 0.7)

    def ask_again(self) -> None:
        if actor := self.pick("waiting"):
            self.ask_for(actor, wait=True)

    def ask_for(self, actor: Actor, wait: bool) -> None:
        priority = self.random.choice([0, 0, 0, 60_000_000])
        reply = self.call(
            scripts.ACQUIRE, actor.token, actor.token, f"o{self.count % 3}", 60_000, actor.want, int(wait), 60_000,
            priority, actor.stamp,
            twice=not self.some_need_no_lock(),
        )  # fmt: skip
        if reply[0] == b"granted":
            actor.state = "held" if reply[1].split(b"\n")[1] else "gone"
        elif reply[0] == b"waiting":
            actor.state, actor.stamp = "waiting", reply[1]
        else:
            assert reply[0] in {b"busy", b"empty", b"unknown"}, reply
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
                locked = kind == b"granted" and mail.split(b"\n")[5] != b"0"
                actor.state = "held" if locked else "gone"

    def die(self) -> None:
        if actor := self.pick("waiting"):
            self.client.delete(self.keys.meta[:-4] + "alive:" + actor.token)
            actor.state = self.random.choice(["gone", "waiting"])  # or it was only slow

    def cancel(self) -> None:
        if actor := self.pick("waiting"):
            grants = self.random.choice(["keep", "return"])
            reply = self.call(scripts.CANCEL, actor.token, actor.token, grants, actor.want)
            actor.state = "held" if reply[0] == b"granted" else "gone"

    def release(self) -> None:
        if actor := self.pick("held"):
            self.call(scripts.RELEASE, self.random.choice([0, 0, 3]), actor.token, twice=False)
            self.call(scripts.RELEASE, 0, actor.token, twice=False)
            actor.state = "gone"

    def expire(self) -> None:
        if actor := self.pick("held"):
            self.call(scripts.RENEW, actor.token, 1, 0, twice=False)
            time.sleep(0.003)
            actor.state = self.random.choice(["gone", "held"])  # dead, or late to release

    def release_owner(self) -> None:
        tokens = self.call(scripts.OWNED, f"o{self.random.randrange(3)}", 10, twice=False)
        if tokens:
            self.call(scripts.RELEASE, 0, *tokens, twice=False)

    def add(self) -> None:
        name = self.random.choice(NAMES)
        sessions = self.random.choice([1, 1, 1, 2, 3, 0])
        self.call(scripts.ADD, name, hash_of_name(name), f"{sessions}\n{{}}".encode(), twice=False)

    def remove(self) -> None:
        name = self.random.choice(NAMES)
        self.call(scripts.REMOVE, name, hash_of_name(name), twice=False)

    def rename(self) -> None:
        name, new = self.random.sample(NAMES, 2)
        if record := self.client.hget(self.keys.meta[:-4] + "accounts", name):
            self.call(scripts.REPLACE, name, hash_of_name(name), record, new, hash_of_name(new), record)

    def reset(self) -> None:
        self.call(scripts.RESET, 0)

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
        (chosen,) = self.random.choices(list(weights), list(weights.values()))
        chosen()
        self.check()

    def check(self) -> None:
        try:
            shot = invariants.check(self.client, "chaos", self.pool, strict=False, most_accounts=len(NAMES))
        except AssertionError:
            time.sleep(0.02)  # what expired by itself meanwhile
            self.wait()
            shot = invariants.check(self.client, "chaos", self.pool, strict=False, most_accounts=len(NAMES))
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
                other for other in shot.alive
                if shot.requests[other][1] in {"", name} and mine is not None and stamps[other] < mine
            ]  # fmt: skip
            assert not overtaken, f"{token} overtook {overtaken}"
        self.fence = newest


@pytest.mark.parametrize("seed", range(5))
def test_after_any_history_every_seat_is_in_one_place_and_nobody_was_overtaken(client, pool_name, seed):
    chaos = Chaos(client, f"{pool_name}-{seed}", seed)
    try:
        for _ in range(STEPS):
            chaos.step()
    except AssertionError as error:
        error.add_note(f"seed {seed}, the last steps: {chaos.history[-12:]}")
        raise
