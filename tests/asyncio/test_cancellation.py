"""A task may be cancelled at any await: nothing of what it did, or was about to get, stays behind."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from redispool import AcquireTimeout
from redispool.asyncio import Account
from redispool.asyncio.mailbox import Mailbox
from redispool.protocol.flows import LeaseFlows

from .conftest import queue_up, until

WAYS = ("before", "after", "relentlessly", 1, 2, 3, 4, 5)


class CancellingWire:
    """Cancels a task at its n-th command, and carries the commands of all others.

    Before: the command is not sent. After: the reply has come, and the task goes on until its next await. A number:
    so many turns of the loop after it was asked for, so before, while and after it is sent. Relentlessly: at each turn
    of the loop, as anyio's scopes do.
    """

    def __init__(self, wire: Any, at: int, way: str | int) -> None:
        self._perform = wire.perform
        self.at, self.way = at, way
        self.task: asyncio.Task[Any] | None = None
        self.count = 0
        wire.perform = self.perform

    async def perform(self, command: Any) -> Any:
        if asyncio.current_task() is not self.task:
            return await self._perform(command)
        self.count += 1
        if self.count != self.at:
            return await self._perform(command)
        if self.way == "before":
            self.task.cancel()
            await asyncio.sleep(0)
        elif self.way == "after":
            reply = await self._perform(command)
            self.task.cancel()
            return reply
        asyncio.get_running_loop().call_soon(self._cancel, 1 if self.way == "relentlessly" else self.way)
        return await self._perform(command)

    def _cancel(self, turns: int) -> None:
        if self.task is None:
            return
        if turns > 1:
            asyncio.get_running_loop().call_soon(self._cancel, turns - 1)
        elif self.task.cancel() and self.way == "relentlessly":
            asyncio.get_running_loop().call_soon(self._cancel, 1)


async def acquire_and_release(pool):
    account = await pool.acquire_account()
    await account.release()


async def use_a_block(pool):
    async with pool.lease():
        await asyncio.sleep(0)


async def use_a_member(pool):
    member = Account("a1", "secret-1")
    await pool.add_account(member)
    await member.acquire()
    await member.release()


async def wait_in_line(pool):
    async with pool.lease("a2"):
        pass


async def wait_in_vain(pool):
    with suppress(AcquireTimeout):
        await pool.acquire_account("a2", timeout=0.02)


async def leaks(make_pool, scenario, seconds=3.0):
    """At which command, and cancelled in which way, the scenario leaves something behind."""
    found = []
    for way in WAYS:
        at, commands = 0, 0  # first, it is not cancelled at all
        while at <= commands:
            async with make_pool(2) as pool:
                await pool.reset()
                await pool.add_account([Account("a1"), Account("a2")])
                held = await pool.acquire_account("a2")
                pool.operations.flows.slice_seconds = 0.1
                wire = CancellingWire(pool._wires.here().commands, at, way)
                wire.task = asyncio.create_task(scenario(pool))
                asyncio.get_running_loop().call_later(0.03, asyncio.ensure_future, held.release())
                with suppress(asyncio.CancelledError):
                    await wire.task
                commands = max(commands, wire.count)
                wire.task = None  # its traceback would hold the handle

                async def at_rest(pool=pool):
                    status = await pool.status()
                    return status.held == status.waiting == 0 and status.free == 2

                try:
                    await until(at_rest, seconds)
                except AssertionError:
                    found.append((way, at))
            at += 1
    assert commands > 1
    return found


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a handle that came too late was dropped, and given back
@pytest.mark.parametrize("scenario", [acquire_and_release, use_a_block, use_a_member, wait_in_line, wait_in_vain])
def test_cancelled_at_any_await_nothing_stays_behind(make_pool, scenario):
    assert asyncio.run(leaks(make_pool, scenario)) == []


def test_without_the_cancel_script_something_would(make_pool, monkeypatch):
    def skip(self, request):
        yield from ()

    monkeypatch.setattr(LeaseFlows, "_abandon", skip)
    assert asyncio.run(leaks(make_pool, acquire_and_release, 0.3)) != []


def test_without_the_shield_around_the_clean_up_something_would(make_pool, monkeypatch):
    async def bare(wire, command):
        return await wire.perform(command)

    monkeypatch.setattr("redispool.drivers.shielded", bare)
    ways: set[str] = set()
    for _ in range(10):  # whether the cancellation finds the clean-up under way is a matter of luck
        ways |= {way for way, _ in asyncio.run(leaks(make_pool, acquire_and_release, 0.3))}
        if ways:
            break
    assert ways == {"relentlessly"}


def test_a_grant_that_is_on_its_way_goes_back_at_once(make_pool, monkeypatch):
    held_up = []
    deliver = Mailbox._deliver
    monkeypatch.setattr(Mailbox, "_deliver", lambda mailbox, mail: held_up.append((mailbox, mail)))

    async def scenario():
        async with make_pool(1) as pool:
            held = await pool.acquire_account()
            waiter = await queue_up(pool)
            await held.release()

            async def granted():
                return held_up

            await until(granted)
            assert (await pool.status()).held == 1  # the waiter's, who does not know it yet
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            status = await pool.status()
            assert (status.free, status.held, status.waiting) == (1, 0, 0)
            deliver(*held_up.pop())  # what comes now is for nobody
            assert (await pool.acquire_account(timeout=0)).lease.fence == 3

    with pytest.warns(ResourceWarning):  # the last handle
        asyncio.run(scenario())


def test_a_time_limit_of_asyncio_ends_the_wait(make_pool):
    async def scenario():
        async with make_pool(1) as pool, pool.lease():
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.05):
                    await pool.acquire_account()
            assert not isinstance(caught.value, AcquireTimeout)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.acquire_account(), 0.05)
            assert (await pool.status()).waiting == 0

    asyncio.run(scenario())


def test_an_error_in_a_task_group_sends_its_waiters_away(make_pool):
    async def scenario():
        async with make_pool(1) as pool:
            with pytest.raises(ExceptionGroup):  # noqa: PT012 - the group is what raises
                async with asyncio.TaskGroup() as group, pool.lease():
                    for _ in range(20):
                        group.create_task(use_a_block(pool))

                    async def all_wait():
                        return (await pool.status()).waiting == 20

                    await until(all_wait)
                    raise RuntimeError("the task's own")
            status = await pool.status()
            assert (status.waiting, status.held, status.free) == (0, 0, 1)

    asyncio.run(scenario())


def test_a_release_that_is_cancelled_has_released(make_pool):
    async def scenario():
        async with make_pool(1) as pool:
            account = await pool.acquire_account()
            release = asyncio.create_task(account.release())
            await asyncio.sleep(0)
            release.cancel()
            with pytest.raises(asyncio.CancelledError):
                await release
            assert account.lease is None
            assert (await pool.status()).free == 1

    asyncio.run(scenario())


def test_a_connection_whose_reply_nobody_waited_for_serves_the_next(make_pool):
    async def scenario():
        async with make_pool(3) as pool:
            for _ in range(50):
                asked = asyncio.create_task(pool.accounts())
                await asyncio.sleep(0)
                asked.cancel()
                assert await pool.n_accounts() == 3
                assert asked.cancelled()

    asyncio.run(scenario())
