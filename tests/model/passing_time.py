"""Makes time pass in a pool without waiting: all that ends at some time ends so much sooner.

The server's clock cannot be moved, but a pool's times can: to its scripts, this looks as if the time had passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis


def pass_time(client: redis.Redis, start: str, ms: int) -> None:
    """Let so many milliseconds pass for the pool whose keys begin so; the pool must be quiet."""
    keys = [key for key in client.scan_iter(count=1000) if key.startswith(start.encode())]
    with client.pipeline() as pipeline:
        for key in keys:
            pipeline.pexpiretime(key)
        ends = pipeline.execute()
    with client.pipeline() as pipeline:
        for key, end in zip(keys, ends, strict=True):
            if end >= 0:
                pipeline.pexpireat(key, end - ms)  # in the past: it is gone
        for index in (b"leases", b"cooling", b"dirty"):
            for member, end in client.zrange(start.encode() + index, 0, -1, withscores=True):
                pipeline.zadd(start.encode() + index, {member: end - ms})
        for key in keys:
            if key.startswith(start.encode() + b"queue"):
                for token, stamp in client.zrange(key, 0, -1, withscores=True):
                    pipeline.zadd(key, {token: stamp - ms * 1000})
        pass_time_of_rules(client, pipeline, start.encode(), ms)
        pipeline.execute()


def end_presence(client: redis.Redis, start: str, token: str) -> None:
    """Let the presence of a waiter at a mailbox of his own run out, and no time pass for anybody else."""
    until, rest = client.hget(f"{start}requests", token).split(b"\n", 1)
    assert until.isdigit()
    client.hset(f"{start}requests", token, b"0\n" + rest)


def pass_time_of_rules(client: redis.Redis, pipeline: redis.client.Pipeline, start: bytes, ms: int) -> None:
    """The times in hashes: until when accounts rest and waiters live, how old leases are, when the pace lets go on."""
    for name, end in client.hgetall(start + b"rest").items():
        pipeline.hset(start + b"rest", name, int(end) - ms)
    for token, entry in client.hgetall(start + b"held").items():
        seat, owner, fence, since, purpose = entry.split(b"\n", 4)
        pipeline.hset(start + b"held", token, b"\n".join([seat, owner, fence, b"%d" % (int(since) - ms), purpose]))
    for token, entry in client.hgetall(start + b"requests").items():
        until, rest = entry.split(b"\n", 1)
        if until.isdigit():  # who waits at a mailbox of his own lives until then
            pipeline.hset(start + b"requests", token, b"%d\n%b" % (max(int(until) - ms, 0), rest))
    if next_at := client.hget(start + b"meta", "next_at"):
        pipeline.hset(start + b"meta", "next_at", int(next_at) - ms * 1000)
