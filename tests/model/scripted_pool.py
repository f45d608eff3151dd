"""The real scripts on a real server, called as the reference is, and answering as it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redispool.account import hash_of_name
from redispool.connect import private_client
from redispool.drivers import Wire
from redispool.protocol import scripts
from redispool.protocol.commands import Call
from redispool.protocol.keys import PoolKeys
from tests.model.passing_time import end_presence, pass_time

if TYPE_CHECKING:
    import redis

    from tests.model.reference import Answer, Request

TICK = 10_000  # ms; that nothing but our own calls takes time is much less
NAMESPACE = "model"


def letter(mail: bytes) -> Answer:
    """A mail as the reference writes it."""
    kind, _, *rest = mail.decode().split("\n")
    if kind != "granted":
        return (kind,)
    return (kind, rest[0], int(rest[1]))


class ScriptedPool:
    """A pool on a server, for somebody who knows its scripts by heart."""

    def __init__(self, client: redis.Redis, pool: str, sessions: dict[str, int]) -> None:
        self.client, self.pool, self.sessions = client, pool, sessions
        self.start = f"{NAMESPACE}:{{{pool}}}:"
        self.stamps: dict[str, float] = {}  # what each waiter was told, to be told back
        self._meta = PoolKeys(NAMESPACE, pool).meta
        self._wire = Wire(private_client(client))

    def call(self, script: scripts.Script, *arguments: Any) -> list[Any]:
        command = Call(script, self._meta, (scripts.PROTOCOL_VERSION, "1", *arguments))
        return self._wire.perform(command)

    def record(self, name: str) -> bytes:
        return f"{self.sessions[name]}\n{{}}".encode()

    def acquire(self, asked: Request, *, wait: bool, presence: int, priority: int, stamp: bool) -> Answer:
        kind, *rest = self.call(
            scripts.ACQUIRE, asked.owner, asked.ttl * TICK, presence * TICK, asked.want, "" if wait else "0", "",
            priority * 60_000_000, f"{self.stamps[asked.token]:.0f}" if stamp else "", "", asked.token,
        )  # fmt: skip
        if kind == b"granted":
            return letter(rest[1])
        if kind == b"waiting":
            self.stamps[asked.token] = float(rest[0])
            left = rest[2]
            return ("waiting", rest[1], None if left == -1 else -(-left // TICK))
        return (kind.decode(),)

    def cancel(self, asked: Request, *, keep: bool) -> Answer:
        word = "keep" if keep else "return"
        kind, *rest = self.call(scripts.CANCEL, asked.token, asked.token, word, asked.want, 1)
        return letter(rest[1]) if kind == b"granted" else (kind.decode(),)

    def release(self, token: str, cooldown: int) -> bool:
        return bool(self.call(scripts.RELEASE, cooldown * TICK, token)[0])

    def renew(self, token: str, ttl: int) -> bool:
        return bool(self.call(scripts.RENEW, token, ttl * TICK, 0)[1])

    def owned(self, owner: str) -> set[str]:
        reply = self.call(scripts.OWNED, owner, 100)
        if reply == [b"unlisted"]:
            self.list_owners()
            reply = self.call(scripts.OWNED, owner, 100)
        return {token.decode() for token in reply[1:]}

    def list_owners(self) -> None:
        assert self.call(scripts.ENLIST) == [1]

    def read_mail(self, token: str) -> Answer | None:
        mail = self.client.lpop(f"{self.start}mail:{token}")
        return letter(mail) if mail else None

    def die(self, token: str) -> None:
        end_presence(self.client, self.start, token)

    def add(self, name: str) -> int:
        return int(self.call(scripts.ADD, name, hash_of_name(name), self.record(name))[0])

    def remove(self, name: str) -> int:
        return int(self.call(scripts.REMOVE, name, hash_of_name(name))[0])

    def rename(self, name: str, new: str) -> str:
        # the new record tells the new name, as a sealed one does: a rename that was sent twice is known by it
        record = self.client.hget(self.start + "accounts", name) or self.record(name)
        renamed = record.split(b"\n")[0] + f'\n{{"was":"{name}"}}'.encode()
        words = (name, hash_of_name(name), record, new, hash_of_name(new), renamed)
        return self.call(scripts.REPLACE, *words)[0].decode()

    def report(self, what: str, name: str, token: str) -> str:
        return self.call(scripts.HEALTH, what, name, "a reason", "somebody", "", token)[0].decode()

    def reset(self) -> None:
        assert self.call(scripts.RESET, 0) == [0]

    def reclaim(self) -> tuple[int, int]:
        """How many accounts there are, and how many seats are free."""
        reply = self.call(scripts.INSPECT, 0, 10)
        return reply[1], reply[2]

    def pass_time(self, ticks: int) -> None:
        pass_time(self.client, self.start, ticks * TICK)
        self.stamps = {token: stamp - ticks * TICK * 1000 for token, stamp in self.stamps.items()}
