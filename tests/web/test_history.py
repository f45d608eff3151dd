"""The last hour, as events and leases tell it."""

from __future__ import annotations

import pytest

from redispool.protocol.oversight import EventRow
from redispool.status import LeaseInfo, PoolStatus
from redispool.watch import PoolView
from redispool.web.history import SPAN, STEP, History

START = 1_000_000.0


def lease(fence, account, at, now):
    return LeaseInfo(account, f"owner {fence}", f"t{fence}", fence, at, now + 60, now - at)


def view(now, leases=(), events=(), since=START):
    status = PoolStatus("lab", 3, 3 - len(leases), len(leases), 0, 0, 0, tuple(leases), at=now)
    return PoolView(status, [], 1.0, [], tuple(events), since)


def event(at, what, fence, account="a", waited=None):
    return EventRow(at, what, account, f"owner {fence}", fence, "", waited=waited)


def test_holdings_are_put_together_from_their_two_ends():
    history = History()
    events = [event(START + 1, "granted", 1), event(START + 4, "expired", 1), event(START + 5, "granted", 2, "b")]
    history.take(view(START + 6, [lease(2, "b", START + 5, START + 6)], events))
    assert history.whole(99)["holdings"] == [
        [1, "a", "owner 1", START + 1, START + 4, "expired"],
        [2, "b", "owner 2", START + 5, None, ""],
    ]
    history.take(view(START + 8, [], [event(START + 7, "released", 2, "b")]))
    assert history.news()["holdings"] == [[2, "b", "owner 2", START + 5, START + 7, "released"]]
    history.take(view(START + 9))
    assert history.news()["holdings"] == []


def test_what_was_held_on_average_is_known_also_for_leases_older_than_the_events():
    history = History()
    old = lease(1, "a", START - 500, START + 15)
    history.take(view(START + 15, [old], [event(START + 5, "granted", 2), event(START + 10, "released", 2)]))
    first, second = history.whole(99)["steps"]
    assert first == [START, pytest.approx(1.5), 1, None, None]
    assert second == [START + STEP, pytest.approx(1.0), 0, None, None]
    assert [1, "a", "owner 1", START - 500, None, ""] in history.whole(99)["holdings"]


def test_the_end_of_a_lease_whose_begin_nobody_kept_is_drawn_from_where_knowledge_begins():
    history = History()
    history.take(view(START + 10, [], [event(START + 5, "revoked", 7)]))
    assert history.whole(99)["holdings"] == [[7, "a", "owner 7", START, START + 5, "revoked"]]
    assert history.whole(99)["steps"][0][1] == pytest.approx(0.5)


def test_a_lease_that_ends_without_an_event_is_gone_and_one_that_began_without_is_there():
    history = History()
    history.take(view(START + 1, [lease(3, "a", START, START + 1)]))
    history.take(view(START + 2))
    assert history.news()["holdings"] == [[3, "a", "owner 3", START, START + 2, "gone"]]


def test_what_happens_between_the_reading_of_leases_and_of_events_is_not_counted_twice():
    history = History()
    history.take(view(START + 10, [], [event(START + 10.5, "granted", 1)]))
    assert history.whole(99)["holdings"] == [[1, "a", "owner 1", START + 10.5, None, ""]]
    history.take(view(START + 20, [lease(1, "a", START + 10.5, START + 20)]))
    held = {step[0]: step[1] for step in history.whole(99)["steps"]}
    assert held[START] == 0
    assert held[START + STEP] == pytest.approx(0.95, abs=0.06)


def test_waits_are_told_by_their_percentiles_and_where_they_are_not_known_as_such():
    history = History()
    events = [event(START + number / 100, "granted", number, waited=float(number)) for number in range(1, 101)]
    events += [event(START + 1.5, "released", number) for number in range(1, 101)]
    history.take(view(START + 5, [], events))
    assert history.whole(99)["steps"][0][2:] == [100, 51.0, 96.0]


def test_what_is_older_than_an_hour_goes():
    history = History()
    history.take(view(START + 10, [], [event(START + 1, "granted", 1), event(START + 2, "released", 1)]))
    history.take(view(START + 10 + SPAN))
    whole = history.whole(99)
    assert whole["holdings"] == []
    assert min(step[0] for step in whole["steps"]) >= START


def test_of_very_many_holdings_the_last_are_told_and_since_when_they_are_all():
    history = History()
    events = [event(START + number, what, number) for number in range(1, 6) for what in ("granted", "released")]
    history.take(view(START + 10, [], events))
    whole = history.whole(2)
    assert [row[0] for row in whole["holdings"]] == [4, 5]
    assert whole["holdings_since"] == START + 4
