"""What one connection for many tasks sends together, and what each of them is told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import redis
import redis.asyncio

from redispool.asyncio.line import Line, Question, _answer
from redispool.protocol.commands import Replication, Unanswered


def test_what_needs_no_replica_is_sent_apart_from_what_does():
    async def batches():
        line = Line(redis.asyncio.Redis())
        for number, wanted in enumerate([None, Replication("key", 1), Replication("key", 1), None]):
            line._questions.append(Question((number,), asyncio.get_running_loop().create_future(), wanted))
        return [[question.words[0] for question in line._next_batch()] for _ in range(3)]

    assert asyncio.run(batches()) == [[0], [1, 2], [3]]


def test_each_of_a_crowd_is_told_of_an_outage_by_an_error_of_its_own():
    told = []
    batch = [
        Question(("PING",), SimpleNamespace(done=lambda: False, set_exception=told.append), None) for _ in range(3)
    ]
    _answer(batch, [Unanswered(redis.ConnectionError("gone"))] * 3)
    assert len({id(error.cause) for error in told}) == 3
    assert {str(error.cause) for error in told} == {"gone"}
