"""What must be true of a pool's keys whenever no script is running."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis

    Client = redis.Redis | redis.RedisCluster


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All keys of one pool, with the variable part of each key's name as its index."""

    now: int  # server's clock, ms
    members: list[str]
    rotation: list[str]
    places: dict[str, int]
    sessions: dict[str, int]
    hashes: dict[str, str]
    free: int
    held: dict[str, tuple[str, str, int]]  # token -> seat, owner, fence
    leases: dict[str, float]
    cooling: dict[str, float]
    dirty: dict[str, float]
    quarantine: set[str]
    labels: dict[str, set[str]]
    chosen: dict[str, list[str]]  # choice of labels -> its rotation
    chosen_places: dict[str, dict[str, int]]
    carriers: dict[str, set[str]]
    requests: dict[str, tuple[str, str, str]]  # token -> mailbox, what it wants, and how
    queues: dict[str, dict[str, float]]  # what is wanted -> token -> stamp
    idle: dict[str, list[str]]
    locks: dict[str, str]
    owners: dict[str, set[str]]
    owners_kept: str
    mailboxes: set[str]
    alive: set[str]  # mailboxes that are read


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _by_index(client: Client, prefix: str) -> dict[str, bytes]:
    """Every key that begins so, by the rest of its name."""
    pattern = "".join(f"\\{letter}" if letter in "*?[]\\^" else letter for letter in prefix) + "*"
    return {_text(key)[len(prefix) :]: key for key in client.scan_iter(match=pattern, count=1000)}


def _counted(client: Client, start: str, what: str) -> int:
    return int(client.hget(start + "meta", what) or 0)


def snapshot(client: Client, namespace: str, pool: str) -> Snapshot:
    """Read the keys of a quiet pool."""
    start = f"{namespace}:{{{pool}}}:"
    seconds, microseconds = client.time()
    records = client.hgetall(start + "accounts")
    held = {_text(token): _text(entry).split("\n") for token, entry in client.hgetall(start + "held").items()}
    requests = {
        _text(token): _text(entry).split("\n", 5) for token, entry in client.hgetall(start + "requests").items()
    }
    now = seconds * 1000 + microseconds // 1000
    # who waits at a mailbox of his own, which is named as his token, says there until when he lives
    alone = {token: int(words[0]) for token, words in requests.items() if words[0].isdigit()}
    boxes = {token: token if token in alone else words[0] for token, words in requests.items()}
    heads = {_text(name): _text(record.split(b"\n", 1)[0]).split("\t") for name, record in records.items()}
    ready = [_text(choice) for choice in client.hkeys(start + "choices") if choice.startswith(b"\t")]
    locks = {seat: client.get(key) for seat, key in _by_index(client, start + "lock:").items()}
    queues = {"": client.zrange(start + "queue", 0, -1, withscores=True)}
    for name, key in _by_index(client, start + "queue:").items():
        queues[name] = client.zrange(key, 0, -1, withscores=True)
    return Snapshot(
        now=now,
        members=[_text(name) for name in client.lrange(start + "members", 0, -1)],
        rotation=[_text(name) for name in client.lrange(start + "rotation", 0, -1)],
        places={_text(name): int(count) for name, count in client.hgetall(start + "places").items()},
        sessions={name: int(head[0]) for name, head in heads.items()},
        hashes={_text(digest): _text(name) for digest, name in client.hgetall(start + "hashes").items()},
        free=client.llen(start + "rotation") + _counted(client, start, "more") - _counted(client, start, "stale"),
        held={token: (entry[0], entry[1], int(entry[2])) for token, entry in held.items()},
        leases={_text(token): end for token, end in client.zrange(start + "leases", 0, -1, withscores=True)},
        cooling={_text(seat): end for seat, end in client.zrange(start + "cooling", 0, -1, withscores=True)},
        dirty={_text(seat): since for seat, since in client.zrange(start + "dirty", 0, -1, withscores=True)},
        quarantine={_text(name) for name in client.hkeys(start + "quarantine")},
        labels={name: {label for label in head[1:] if label} for name, head in heads.items()},
        chosen={choice: [_text(name) for name in client.lrange(f"{start}rotation{choice}", 0, -1)] for choice in ready},
        chosen_places={
            choice: {_text(name): int(count) for name, count in client.hgetall(f"{start}places{choice}").items()}
            for choice in ready
        },
        carriers={choice: {_text(name) for name in client.smembers(f"{start}carriers:{choice}")} for choice in ready},
        requests={token: (boxes[token], words[4], words[5]) for token, words in requests.items()},
        queues={name: {_text(token): stamp for token, stamp in queue} for name, queue in queues.items()},
        idle={
            name: [_text(number) for number in client.lrange(key, 0, -1)]
            for name, key in _by_index(client, start + "idle:").items()
        },
        locks={seat: _text(token) for seat, token in locks.items() if token is not None},
        owners={
            owner: {_text(token) for token in client.smembers(key)}
            for owner, key in _by_index(client, start + "owner:").items()
        },
        owners_kept=_text(client.hget(start + "meta", "owners") or b""),
        mailboxes=set(_by_index(client, start + "mail:")),
        alive={token for token, until in alone.items() if until > now} | set(_by_index(client, start + "alive:")),
    )


def account_of(seat: str) -> str:
    """The account that the seat is one of."""
    return seat.partition("\t")[0]


def seat_of(name: str, number: int) -> str:
    """The seat's name."""
    return name if number == 1 else f"{name}\t{number}"


def _check_rotation(shot: Snapshot, most_accounts: int | None) -> None:
    counted = dict(Counter(shot.rotation))
    told = {name: abs(count) for name, count in shot.places.items() if count}
    assert counted == told, "places does not count the rotation"
    assert set(shot.places) <= {*shot.sessions, *counted}, "places of an account that is no member"
    if most_accounts is not None:
        assert len(shot.rotation) <= 2 * most_accounts, "the rotation is longer than twice the number of accounts"
    for name, sessions in shot.sessions.items():
        if sessions > 1:
            has_turn = shot.places.get(name, 0) > 0
            assert has_turn == bool(shot.idle.get(name)), f"{name} has a turn and no idle seat, or the reverse"


def _check_choices(shot: Snapshot) -> None:
    for choice, rotation in shot.chosen.items():
        places = shot.chosen_places[choice]
        counted = dict(Counter(rotation))
        assert counted == {name: abs(count) for name, count in places.items()}, f"places of {choice!r}"
        carriers = {name for name, labels in shot.labels.items() if set(choice.strip("\t").split("\t")) <= labels}
        assert shot.carriers[choice] == carriers, f"carriers of {choice!r}"
        for name in shot.sessions:
            in_turn = name in carriers and shot.places.get(name, 0) > 0
            assert (places.get(name, 0) > 0) == in_turn, f"{name} in the rotation of {choice!r}: {shot}"


def _free_seats(shot: Snapshot) -> list[str]:
    free = []
    for name, sessions in shot.sessions.items():
        if sessions > 1:
            free += [seat_of(name, int(number)) for number in shot.idle.get(name, [])]
        elif shot.places.get(name, 0) > 0:
            free.append(name if sessions else f"{name}, which needs no lock")
    return free


def _check_seats(shot: Snapshot) -> None:
    free = _free_seats(shot)
    assert shot.free == len(free), f"free says {shot.free}, and {len(free)} seats are free"
    # an account that is never locked may rest while somebody holds it from when it was
    cooling = [seat if shot.sessions.get(seat) != 0 else f"{seat}, which needs no lock" for seat in shot.cooling]
    whereabouts = Counter([*free, *(seat for seat, _, _ in shot.held.values()), *cooling, *shot.dirty])
    for name, sessions in shot.sessions.items():
        for number in range(1, sessions + 1):
            seat = seat_of(name, number)
            out = name in shot.quarantine and seat not in shot.locks
            assert out or whereabouts[seat] == 1, f"seat {seat!r} is in {whereabouts[seat]} places: {shot}"
    assert max(whereabouts.values(), default=1) == 1, f"a seat is in two places: {whereabouts}"
    assert not {account_of(seat) for seat in free} & shot.quarantine, "an account in quarantine can be had"
    assert set(shot.idle) <= set(shot.sessions), "idle seats of an account that is no member"


def _check_leases(shot: Snapshot, *, strict: bool) -> None:
    assert set(shot.leases) == set(shot.held)
    of_owners = {token: owner for owner, tokens in shot.owners.items() for token in tokens}
    told = {token: owner for token, (_, owner, _) in shot.held.items()}
    assert of_owners.items() <= told.items(), "an owner is told of a lease that is none"
    assert shot.owners_kept != "all" or of_owners == told, "an owner is not told of a lease"
    assert shot.owners_kept or not of_owners, "owners are told of leases though nobody asked"
    for token, (seat, _, _) in shot.held.items():
        if seat in shot.locks:
            assert token in {shot.locks[seat], f"?{seat}"}, f"lock and lease of {seat!r} disagree"
        else:
            assert shot.leases[token] <= shot.now + 1000, f"{seat!r} has a lease and no lock"
    if strict:
        assert set(shot.locks) <= {seat for seat, _, _ in shot.held.values()}, "a lock without a lease"


def _check_waiters(shot: Snapshot, *, strict: bool, barred: bool) -> None:
    waiting = {token: name for name, tokens in shot.queues.items() for token in tokens}
    assert len(waiting) == sum(map(len, shot.queues.values())), "a token waits in two queues"
    assert waiting == {token: want for token, (_, want, _) in shot.requests.items()}
    for token, (box, want, _) in shot.requests.items():
        free = {name for name, places in shot.places.items() if places > 0}
        if want.startswith("\t"):
            free &= shot.carriers.get(want, set())
        elif want:
            free &= {want}
        assert barred or box not in shot.alive or not free, f"{token} waits for {want!r}, which is free"
    # a mailbox that many share stays a while, with or without anybody who waits at it
    alone = {box for box in shot.alive | shot.mailboxes if not box.startswith("shared:")}
    assert alone & shot.alive <= set(shot.requests), "presence of somebody who does not wait"
    if strict:
        assert alone & shot.mailboxes <= set(shot.held) | set(shot.requests), "a mailbox that nobody reads"


def check(
    client: Client,
    namespace: str,
    pool: str,
    *,
    strict: bool = True,
    barred: bool = False,
    most_accounts: int | None = None,
) -> Snapshot:
    """Assert that every seat is in exactly one place, and that no index disagrees with another; what was found.

    Where it is not strict, there may be locks that an operator set, and mail for those who died. Who is barred may wait
    though an account is free: by a policy, or by somebody before him who wants several. Given how many accounts there
    were at most, the rotation must be within twice that (it shrinks only by being read).
    """
    shot = snapshot(client, namespace, pool)
    assert len(set(shot.members)) == len(shot.members)
    assert set(shot.members) == set(shot.sessions) == set(shot.hashes.values())
    _check_rotation(shot, most_accounts)
    _check_choices(shot)
    _check_seats(shot)
    _check_leases(shot, strict=strict)
    _check_waiters(shot, strict=strict, barred=barred)
    return shot
