"""The real scripts on a real server, called as the reference of the rules is, and answering as it does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from redispool.account import hash_of_name
from redispool.protocol import scripts
from redispool.protocol.requests import CLEANUP, Request
from tests.model.scripted_pool import TICK, ScriptedPool, letter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.model.policies import Answer, Ask

PACE = 1000  # of the rules: microseconds in a millisecond
IN_TICKS = {"cooldown": TICK, "min_interval": TICK, "pace": TICK * PACE}


class ScriptedRules(ScriptedPool):
    """A pool on a server, with all that rules it."""

    def ask(self, ask: Ask, *, waits: bool, presence: int, stamp: bool) -> tuple[Answer, int]:
        """The answer, and in how many ticks who waits was told to look again; -1: never."""
        choice = CLEANUP if ask.cleans else ask.choice
        request = Request(
            ask.token, ask.token, ask.owner, ask.ttl, ask.name, ask.priority, choice,
            ask.count, tuple(sorted(ask.exclude)), ask.prefer, ask.patient,
        )  # fmt: skip
        kind, *rest = self.call(
            scripts.ACQUIRE, ask.owner, ask.ttl * TICK, presence * TICK, request.want, "" if waits else "0",
            "", ask.priority * 60_000_000, f"{self.stamps[ask.token]:.0f}" if stamp else "", request.options, ask.token,
        )  # fmt: skip
        if kind == b"granted":
            return ("granted", *(letter(grant)[1] for grant in rest[1:])), -1
        if kind == b"waiting":
            self.stamps[ask.token] = float(rest[0])
            return ("waiting",), rest[2] if rest[2] < 0 else -(-rest[2] // TICK)
        return (kind.decode(), *(rest if kind == b"too many" else ())), -1

    def choose(self, choice: str) -> list[str]:
        """Make the rotation for some labels; the order of turns in it, which is any."""
        cursor: Any = "0"
        while cursor != b"0":
            (cursor,) = self.call(scripts.CHOOSE, choice, cursor, 1000)
        return [name.decode() for name in self.client.lrange(f"{self.start}rotation{choice}", 0, -1)]

    def give_up(self, ask: Ask, *, keep: bool) -> Answer:
        want = CLEANUP if ask.cleans else ask.name or ask.choice
        kind, *rest = self.call(scripts.CANCEL, ask.token, ask.token, "keep" if keep else "return", want, ask.count)
        return ("granted", *(letter(grant)[1] for grant in rest[1:])) if kind == b"granted" else (kind.decode(),)

    def let_go(self, token: str, cooldown: int | None) -> bool:
        return bool(self.call(scripts.RELEASE, "" if cooldown is None else cooldown * TICK, token)[0])

    def renew_within(self, token: str, ttl: int, max_lease: int) -> bool:
        return bool(self.call(scripts.RENEW, token, ttl * TICK, max_lease * TICK)[1])

    def add_account(self, name: str, sessions: int, labels: Iterable[str]) -> int:
        head = f"{sessions}" + "".join(f"\t{label}" for label in sorted(labels)) + ("\t" if labels else "")
        return int(self.call(scripts.ADD, name, hash_of_name(name), f"{head}\n{{}}")[0])

    def record(self, name: str) -> bytes:
        return bytes(self.client.hget(self.start + "accounts", name) or b"1\n{}")

    def configure(self, **changes: Any) -> None:
        rules = {name: value and value * IN_TICKS.get(name, 1) for name, value in changes.items()}
        self.list_owners()
        self.call(scripts.CONFIGURE, json.dumps({name: value or False for name, value in rules.items()}))

    def tell(self, what: str, name: str, rests: int | None, token: str) -> Answer:
        rest = "" if rests is None else rests * TICK
        kind, *figures = self.call(scripts.HEALTH, what, name, "a reason", "somebody", rest, token)
        return (kind.decode(), *figures)

    def reserve(self, ask: Ask, *, force: bool) -> Answer:
        seconds, microseconds = self.client.time()
        until = seconds * 1000 + microseconds // 1000 + ask.ttl * TICK
        words = (ask.token, ask.name, ask.owner, until, "a note", int(force), "an administrator")
        kind, *rest = self.call(scripts.RESERVE, *words)
        if kind == b"granted":
            return ("granted", *(letter(grant)[1] for grant in rest[1:]))
        return (kind.decode(), *(owner.decode() for owner in rest))

    def revoke(self, name: str, owner: str, token: str, *, force: bool) -> Answer:
        kind, *rest = self.call(scripts.REVOKE, name, owner, int(force), "an administrator", token)
        return (kind.decode(), *rest[:1])

    def read_letters(self) -> list[tuple[str, Answer]]:
        """What is in all mailboxes, as those read it who wait there."""
        start = f"{self.start}mail:"
        found = []
        for key in sorted(self.client.scan_iter(match=start.replace("{", "\\{") + "*", count=1000)):
            token = key.decode().removeprefix(start)
            found += [(token, letter(mail)) for mail in self.client.lrange(key, 0, -1)]
            self.client.delete(key)
        return [(token, answer[:2]) for token, answer in found]
