"""A short part of what scripts/chaos.py does, and what its judge finds when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

from fleet import verdict  # noqa: E402 - it is found since now
from fleet.faults import MACHINES, WEIGHTS, schedule  # noqa: E402 - it is found since now

SESSIONS = {"a": 1, "two": 2}


@pytest.mark.timeout(300)
def test_a_fleet_to_which_everything_happens_uses_no_account_twice_and_loses_none(tmp_path):
    words = [sys.executable, str(SCRIPTS / "chaos.py"), "--minutes=0.4", "--seed=3", "--rate=3", "--workers=6"]
    report = tmp_path / "verdict.json"
    done = subprocess.run([*words, f"--json={report}"], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["injected"] > 30
    assert found["uses"] > 50
    assert found["faults"]["kill"] > 10


def test_the_same_seed_gives_the_same_faults_and_another_gives_others():
    def first(seed):
        faults = schedule(seed, 2.0, ["alone", "threads", "tasks"], 1.5)
        return [next(faults) for _ in range(2000)]

    assert first(1) == first(1) != first(2)
    assert {fault.kind for fault in first(1)} == set(WEIGHTS) > MACHINES
    assert all(fault.victim == 0 for fault in first(1) if fault.kind == "interrupt")
    assert all(fault.victim != 2 for fault in first(1) if fault.kind == "fork")


# -- the judge -------------------------------------------------------------------------------------------------------


def record_of(*lines):
    record = verdict.Record()
    for line in lines:
        record.add(line)
    return record


def ask(owner, at, want=""):
    return {"event": "ask", "at": at, "owner": owner, "want": want}


def begin(owner, at, until, account="a"):
    return {"event": "begin", "at": at, "owner": owner, "account": account, "until": until}


def end(owner, at):
    return {"event": "end", "at": at, "owner": owner}


def void(kind, start, done, after=()):
    """A fault after which what was granted before is worth nothing."""
    started = {"event": "start", "at": 0, "ttl": 2.0}
    return [
        started,
        {"event": "fault", "at": done, "kind": kind, "start": start, "done": done, "end": done, "worker": "w"},
        *after,
    ]


def trail(what, owner, at, fence, account="a"):
    return {"event": "trail", "at": at, "what": what, "account": account, "owner": owner, "fence": fence}


def fault(kind, start, until, worker):
    return {
        "event": "fault", "at": until, "kind": kind, "start": start, "done": start, "end": until, "worker": worker,
    }  # fmt: skip


def test_a_use_within_anothers_valid_lease_is_found():
    record = record_of(begin("w1.1", 1, until=5), begin("w2.1", 3, until=8), end("w1.1", 4), end("w2.1", 6))
    assert verdict.double_uses(record, SESSIONS) == ["a at 3.000: ['w1.1', 'w2.1']"]


@pytest.mark.parametrize(
    "lines",
    [
        [begin("w1.1", 1, until=3), begin("w2.1", 3.5, until=8), end("w1.1", 4), end("w2.1", 6)],
        [begin("w1.1", 1, until=5), end("w1.1", 3), begin("w2.1", 3.1, until=8), end("w2.1", 6)],
        [begin("w1.1", 1, until=9), {"event": "killed", "at": 2, "worker": "w1"}, begin("w2.1", 3, until=8)],
        [begin("w1.1", 1, until=9, account="two"), begin("w2.1", 3, until=8, account="two")],
    ],
    ids=["the lease was over", "it was released", "its holder was dead", "it has two seats"],
)
def test_a_use_after_another_is_none(lines):
    assert verdict.double_uses(record_of(*lines), SESSIONS) == []


def test_a_renewed_lease_is_valid_for_longer():
    renewed = {"event": "renewed", "at": 2, "owner": "w1.1", "until": 5}
    record = record_of(begin("w1.1", 1, until=3), renewed, begin("w2.1", 4, until=8), end("w1.1", 6), end("w2.1", 6))
    assert len(verdict.double_uses(record, SESSIONS)) == 1


@pytest.mark.parametrize(
    ("until", "found"), [(5, 0), (7, 1)], ids=["granted before the data was lost", "renewed since then"]
)
def test_a_lease_is_worth_nothing_after_the_server_forgot_it_unless_it_was_renewed_since(until, found):
    uses = [begin("w1.1", 3.5, until=until), begin("w2.1", 4.5, until=9), end("w1.1", 6), end("w2.1", 6)]
    assert len(verdict.double_uses(record_of(*void("flush all", 4, 4.1), *uses), SESSIONS)) == found
    assert len(verdict.double_uses(record_of(*void("flush all", 1, 1.1), *uses), SESSIONS)) == 1


@pytest.mark.parametrize(
    ("kind", "fences", "found"), [("clock", (7, 8), 0), ("clock", (8, 7), 1), ("no file", (8, 7), 0)]
)
def test_who_goes_on_with_a_void_lease_has_the_lower_fence_where_the_server_remembers_them(kind, fences, found):
    uses = [begin("w1.1", 3.5, until=5) | {"fence": fences[0]}, begin("w2.1", 4.5, until=9) | {"fence": fences[1]}]
    record = record_of(*void(kind, 4, 4.1), *uses, end("w1.1", 6), end("w2.1", 6))
    stale, beside = verdict.stale_uses(record, SESSIONS)
    assert (len(stale), beside) == (found, 1)
    assert verdict.judge(record, SESSIONS, 0, []).passed is (not found)


def test_what_the_server_has_forgotten_was_not_granted_twice():
    record = record_of(
        *void("no file", 4, 4.1), ask("w1.1", 0), trail("granted", "w1.1", 1, 1), trail("granted", "w2.1", 4.5, 1),
        trail("granted", "w3.1", 7, 2),
    )  # fmt: skip
    assert verdict.double_grants(record, SESSIONS) == ([], [])
    record = record_of(*void("clock", 4, 4.1), trail("granted", "w1.1", 1, 1), trail("granted", "w3.1", 7, 2))
    assert len(verdict.double_grants(record, SESSIONS)[0]) == 1


def test_a_double_grant_and_a_request_that_was_answered_twice_are_found():
    record = record_of(
        ask("w1.1", 0), ask("w2.1", 0),
        trail("granted", "w1.1", 1, 1), trail("granted", "w2.1", 2, 2), trail("granted", "w2.1", 3, 3, "two"),
    )  # fmt: skip
    granted_twice, answered_twice = verdict.double_grants(record, SESSIONS)
    assert granted_twice == ["a, fences [1, 2]"]
    assert answered_twice == ["w2.1, fences [2, 3]"]


@pytest.mark.parametrize("ending", ["released", "expired", "returned"])
def test_what_ended_in_between_was_not_granted_twice(ending):
    record = record_of(
        ask("w1.1", 0), trail("granted", "w1.1", 1, 1), trail(ending, "w1.1", 2, 1), trail("granted", "w1.1", 2, 2)
    )
    assert verdict.double_grants(record, SESSIONS) == ([], [])


def overtaken(*more):
    return record_of(
        ask("w1.1", 1), ask("w2.1", 3), trail("granted", "w2.1", 5, 1), trail("granted", "w1.1", 6, 2, "b"), *more
    )


def test_who_was_overtaken_by_one_that_asked_later_is_found():
    assert verdict.orders(overtaken())[0] == ["w1.1 was overtaken by w2.1"]


@pytest.mark.parametrize(
    ("disturbance", "found"),
    [
        (fault("stop", 2, 4, "w1"), 0),
        (fault("stop", 2, 4, "w2"), 1),
        (fault("sleep", 2, 4, "w9"), 0),
        (fault("sleep", 8, 9, "w9"), 1),
        (fault("cut", 2, 2, "w9"), 1),
    ],
    ids=["stopped", "another was stopped", "the server slept", "it slept later", "it is not behind the proxy"],
)
def test_who_was_disturbed_may_be_overtaken_and_nobody_else(disturbance, found):
    assert len(verdict.orders(overtaken(disturbance))[0]) == found


def test_the_time_for_which_an_abandoned_account_was_away_is_told():
    gone = {"event": "abandoned", "at": 2, "account": "a", "end": 3.0}
    record = record_of(gone, trail("granted", "w2.1", 3.25, 2), {"event": "over", "at": 20})
    assert verdict.abandoned(record, SESSIONS).quiet == [0.25]
    record = record_of(gone, trail("granted", "w2.1", 3.25, 2), {"event": "over", "at": 20}, fault("pause", 3, 4, "w1"))
    assert verdict.abandoned(record, SESSIONS).in_outages == [0.25]


def test_an_account_whose_release_was_on_its_way_when_its_holder_died_was_not_abandoned():
    gone = {"event": "abandoned", "at": 2, "account": "a", "end": 3.0}
    later = [trail("granted", "w2.1", 2.2, 2), trail("expired", "w2.1", 4, 2), trail("granted", "w3.1", 4, 3)]
    for ending, away in (("released", []), ("expired", [1.0])):
        held = [trail("granted", "w1.1", 1.5, 1), gone, trail(ending, "w1.1", 2.1, 1)]
        found = verdict.abandoned(record_of(*held, *later, {"event": "over", "at": 20}), SESSIONS)
        assert found.quiet == away


def test_a_lost_account_fails_the_run():
    assert verdict.judge(record_of(), SESSIONS, 0, []).passed
    assert not verdict.judge(record_of(), SESSIONS, 1, []).passed
    assert not verdict.judge(record_of(), SESSIONS, 0, ["'a': it is nowhere"]).passed
