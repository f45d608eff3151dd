"""All policies together, at random: after each step every seat is in one place, and in the end all comes to rest."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest

from redispool import Account, AcquireTimeout, ConfigError, NotHeld, PoolEmpty, RedispoolError, UnknownAccount
from tests import invariants
from tests.conftest import wait_until

NAMES = ["a", "b", "c", "d", "e"]
LABELS = [{"site": "x"}, {"site": "y"}, {"tier": "1"}, {"site": "x", "tier": "1"}]
OWNERS = ["ann", "bob", "cid"]
STEPS = 150
EXPECTED = (AcquireTimeout, PoolEmpty, NotHeld, UnknownAccount, ConfigError)


class Chaos:
    """Somebody who uses and rules a pool without a plan."""

    def __init__(self, pool, seed):
        self.pool = pool
        self.random = random.Random(seed)
        self.held = []
        self.done = []

    def an_account(self, name=None):
        chosen = self.random.choice
        labels = chosen([{}, *LABELS])
        return Account(
            name or chosen(NAMES), labels=labels, max_sessions=chosen([1, 1, 2, 3]), needs_lock=chosen([1, 1, 1, 0])
        )

    def a_choice(self):
        chosen = self.random.choice
        choice = chosen([{}, {}, {"labels": chosen(LABELS)}, {"account": chosen(NAMES)}])
        if "account" not in choice:
            choice |= chosen([{}, {}, {"exclude": self.random.sample(NAMES, 2)}, {"prefer": chosen([True, *NAMES])}])
        return choice | {"wait_for_restore": chosen([True, False])}

    def acquire(self):
        self.held.append(self.pool.acquire_account(owner=self.random.choice(OWNERS), timeout=0, **self.a_choice()))

    def acquire_several(self):
        labels = self.random.choice([None, *LABELS])
        self.held += self.pool.acquire_accounts(2, self.random.choice(OWNERS), timeout=0, labels=labels)

    def acquire_for_cleanup(self):
        self.held.append(self.pool.acquire_for_cleanup(self.random.choice(OWNERS), timeout=0))

    def let_go(self, **options):
        if self.held:
            self.held.pop(self.random.randrange(len(self.held))).release(**options)

    def rest(self):
        self.let_go(cooldown=self.random.choice([0, 0.002]))

    def release_by_name(self):
        self.pool.release(self.random.choice(NAMES), self.random.choice(OWNERS), force=self.random.random() < 0.5)

    def release_owner(self):
        self.pool.release_accounts(self.random.choice(OWNERS))

    def fail(self):
        if self.held:
            self.random.choice(self.held).mark_bad("x", self.random.choice([None, 0.002]))

    def recover(self):
        if self.held:
            self.random.choice(self.held).mark_good()

    def quarantine(self):
        self.pool.quarantine(self.random.choice(NAMES), "x")

    def restore(self):
        self.pool.restore(self.random.choice(NAMES))

    def reserve(self):
        until = time.time() + self.random.choice([0.05, 60])
        force = self.random.random() < 0.5
        self.pool.reserve(self.random.choice(NAMES), self.random.choice(OWNERS), until, force=force)

    def add(self):
        self.pool.add_account(self.an_account())

    def remove(self):
        self.pool.remove_account(self.random.choice(NAMES))

    def rename(self):
        account = self.pool.get_account_from_name(self.random.choice(NAMES))
        if account is not None:
            account.set_name(self.random.choice(NAMES))

    def configure(self):
        chosen = self.random.choice
        rules = {
            "cooldown": chosen([None, 0.002]), "min_interval": chosen([None, 0.003]), "max_rate": chosen([None, 1000]),
            "max_failures": chosen([None, 2]), "max_uses": chosen([None, 9]), "max_per_owner": chosen([None, 2]),
            "cleanup": chosen([None, None, True]), "history": chosen([None, 0, 50]),
        }  # fmt: skip
        self.pool.configure(**{chosen(list(rules)): None} | dict(self.random.sample(sorted(rules.items()), 3)))

    def look(self):
        self.pool.waiting(), self.pool.history(limit=5), self.pool.unlocked_accounts

    def reset(self):
        self.pool.reset()

    def step(self):
        weights = {
            self.acquire: 30, self.acquire_several: 8, self.acquire_for_cleanup: 8, self.let_go: 25, self.rest: 5,
            self.release_by_name: 4, self.release_owner: 2, self.fail: 4, self.recover: 2, self.quarantine: 3,
            self.restore: 6, self.reserve: 3, self.add: 10, self.remove: 3, self.rename: 3, self.configure: 4,
            self.look: 2, self.reset: 0.5,
        }  # fmt: skip
        (chosen,) = self.random.choices(list(weights), list(weights.values()))
        self.done.append(chosen.__name__)
        try:
            chosen()
        except EXPECTED:
            self.done[-1] += " in vain"
        except RedispoolError as error:
            if type(error).__name__ != "AccountExists":
                raise


@pytest.mark.parametrize("seed", range(4))
def test_after_any_step_every_seat_is_in_one_place(make_pool, client, seed):
    pool = make_pool()
    chaos = Chaos(pool, seed)
    pool.add_account([chaos.an_account(name) for name in NAMES])
    for _ in range(STEPS):
        chaos.step()
        try:
            try:
                invariants.check(client, "redispool", pool.name)
            except AssertionError:  # a reservation that ended just now
                pool.status()
                invariants.check(client, "redispool", pool.name)
        except AssertionError as error:
            error.add_note(f"seed {seed}, the last steps: {chaos.done[-15:]}")
            raise
    pool.reset()


def take(pool, own):
    """Take something at random; the handles."""
    owner, timeout = own.choice(OWNERS), own.choice([0, 0.05, 0.5])
    kind = own.choice(["any", "labels", "particular", "several", "cleanup"])
    if kind == "several":
        return pool.acquire_accounts(2, owner, timeout=timeout)
    if kind == "cleanup":
        return [pool.acquire_for_cleanup(owner, timeout=timeout)]
    wanted = {"any": {}, "labels": {"labels": LABELS[0]}, "particular": {"account": own.choice(NAMES)}}[kind]
    return [pool.acquire_account(owner=owner, timeout=timeout, priority=own.choice([0, 1]), **wanted)]


def use(pool, seed):
    own = random.Random(seed)
    for _ in range(6):
        with suppress(*EXPECTED):
            handles = take(pool, own)
            time.sleep(own.choice([0, 0.01]))
            for handle in handles:
                handle.release(cooldown=own.choice([None, 0.01]))


def rule(chaos):
    for _ in range(25):
        with suppress(*EXPECTED):
            chaos.random.choice([chaos.configure, chaos.quarantine, chaos.restore, chaos.restore, chaos.look])()
        time.sleep(0.02)


@pytest.mark.parametrize("seed", range(2))
def test_in_the_end_all_that_a_crowd_waited_for_is_at_rest(make_pool, start, seed):
    pool = make_pool()
    accounts = [Account(name, labels=LABELS[3], max_sessions=1 + number % 2) for number, name in enumerate(NAMES)]
    pool.add_account(accounts)
    crowd = [start(use, pool, seed * 100 + number) for number in range(16)]
    for one in [*crowd, start(rule, Chaos(pool, seed))]:
        one.result(60)
    rules = ("cooldown", "min_interval", "max_rate", "max_failures", "max_uses", "max_per_owner", "cleanup")
    pool.configure(**dict.fromkeys(rules))
    for name in NAMES:
        pool.restore(name)
    status = wait_until(lambda: (now := pool.status()) and now.free == 7 and now)
    assert (status.held, status.cooling, status.to_clean, status.waiting, status.quarantined) == (0, 0, 0, 0, 0)
    handles = pool.acquire_accounts(5, timeout=0)  # which anybody who still waits would bar
    for handle in handles:
        handle.release()
