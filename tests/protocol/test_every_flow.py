"""Each flow, at each of its yields: answered, failed, and thrown into."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import pkgutil
from dataclasses import replace

import pytest

import redispool.protocol
from redispool.errors import ProtocolMismatch
from redispool.protocol.commands import Pause
from redispool.protocol.requests import Grant

from .cases import CASES, LOGS, ROUTES
from .scripted import Case, Outage, Stage, granted, outage, word

PROTOCOL = redispool.protocol.__path__
FOREIGN = [KeyboardInterrupt, asyncio.CancelledError, RuntimeError]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.flow}: {case.name}")


def each_yield_where(wanted):
    yields = [(case, at) for case in CASES for at in range(len(case.script)) if wanted(case, at)]
    ids = [f"{case.flow}: {case.name} @{at}" for case, at in yields]
    return pytest.mark.parametrize(("case", "at"), yields, ids=ids)


def is_patient(case, at):
    return at not in case.impatient


def is_script_of_a_pool(case, at):
    return case not in ROUTES + LOGS and case.script[at][0] != "block" and not case.script[at][0].isupper()


each_yield = each_yield_where(lambda case, at: True)


def cleaning_up(case: Case, error: type[BaseException], *, contacted: bool = True) -> list[str]:
    """What a flow still has to say after an exception from outside."""
    interrupted = not issubclass(error, Exception)
    if case.flow == "acquire" and (contacted or interrupted):
        return ["cancel return"]  # before the first contact, an error tells that nothing arrived
    if case.flow == "release" and interrupted:
        return ["release"]
    return []


def up_to(case: Case, at: int, *then):
    """The case's replies up to a yield, then these, and from there on an outage without end."""
    said = iter([*(reply for _, reply in case.script[:at]), *then])

    def answer(command):
        reply = next(said, ...)
        if reply is not ...:
            return reply
        return None if isinstance(command, Pause) else outage()

    return answer


def flow_methods() -> dict:
    """Every public method of every class of flows in the protocol, by its qualified name."""
    modules = [importlib.import_module(f"redispool.protocol.{found.name}") for found in pkgutil.iter_modules(PROTOCOL)]
    kinds = {kind for module in modules for name, kind in vars(module).items() if name.endswith("Flows")}
    return {
        member.__qualname__: member
        for kind in kinds
        for name, member in vars(kind).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def test_no_flow_is_missing_from_the_table():
    assert {case.start(Stage()).__qualname__ for case in CASES} == set(flow_methods())


def test_every_flow_is_a_generator_so_that_nothing_happens_before_it_is_driven():
    assert [name for name, method in flow_methods().items() if not inspect.isgeneratorfunction(method)] == []


@each_case
def test_answered_it_returns_its_result(case):
    assert_same(case.play(Stage()), case.result)


def assert_same(result, expected):
    """The grants are for the same accounts, and valid as long; any other result is the same."""
    if is_of_grants(expected):
        assert [replace(one, valid_until=0.0) for one in result] == [replace(one, valid_until=0.0) for one in expected]
        assert [one.valid_until for one in result] == pytest.approx([one.valid_until for one in expected])
    else:
        assert result == expected


def is_of_grants(result):
    return isinstance(result, list) and result != [] and isinstance(result[0], Grant)


@each_yield
@pytest.mark.parametrize("error", FOREIGN)
@pytest.mark.parametrize("contacted", [True, False], ids=["later", "first contact"])
def test_thrown_into_it_cleans_up_and_lets_the_exception_out(case, at, error, contacted):
    stage = Stage(contacted=contacted)
    clean_up = cleaning_up(case, error, contacted=contacted or at > 0)
    thrown = error("from outside")
    script = [*case.script[:at], (case.script[at][0], thrown), *((name, [b"cancelled"]) for name in clean_up)]
    with pytest.raises(error) as caught:
        case.play(stage, *script)
    assert caught.value is thrown


@each_yield_where(is_patient)
@pytest.mark.parametrize("error", FOREIGN)
def test_thrown_into_while_it_rides_out_an_outage_it_cleans_up_as_well(case, at, error):
    stage = Stage(contacted=True)
    thrown = error("from outside")
    with pytest.raises(error) as caught:
        stage.feed(case.start(stage), up_to(case, at, outage(), thrown, [b"cancelled"]))
    assert caught.value is thrown
    assert stage.asked[at + 1 :] == ["pause", *cleaning_up(case, error)]


@each_yield
def test_closed_it_asks_for_nothing_more(case, at):
    flow = case.start(Stage(contacted=True))
    flow.send(None)
    for _, reply in case.script[:at]:
        flow.send(reply)
    flow.close()  # raises RuntimeError if it yields
    assert flow.gi_frame is None


@each_yield
def test_a_short_outage_is_ridden_out_and_does_not_change_the_result(case, at):
    stage = Stage(contacted=True)
    before, (expected, reply), after = case.script[:at], case.script[at], case.script[at + 1 :]
    if at in case.impatient:
        clean_up = [(name, [b"cancelled"]) for name in cleaning_up(case, Outage)]
        with pytest.raises(Outage):
            case.play(stage, *before, (expected, outage()), *clean_up)
        return
    if expected == "block":  # what has become of the request is asked of the next script
        result = case.play(stage, *before, ("block", outage()), ("acquire", granted()))
    else:
        result = case.play(stage, *before, (expected, outage()), (expected, outage()), (expected, reply), *after)
    assert "pause" in stage.asked
    assert type(result) is type(case.result)
    if is_of_grants(case.result):
        assert [one.token for one in result] == [one.token for one in case.result]
    else:
        assert result == case.result


@each_yield_where(lambda case, at: is_patient(case, at) and case.script[at][0] != "block")
def test_what_is_sent_again_in_an_outage_is_the_very_same_request(case, at):
    before, (expected, reply), after = case.script[:at], case.script[at], case.script[at + 1 :]
    stage = Stage(contacted=True)
    case.play(stage, *before, (expected, outage()), (expected, reply), *after)
    first, pause, second = stage.commands[at : at + 3]
    assert word(pause) == "pause"
    assert first == second


@each_yield
def test_an_outage_without_end_lets_its_cause_out_when_patience_is_at_its_end(case, at, caplog):
    caplog.set_level(logging.ERROR, "redispool")  # it warns that it could not clean up
    stage = Stage(contacted=True)
    with pytest.raises(Outage):
        stage.feed(case.start(stage), up_to(case, at))
    lasted = stage.clock() - stage.began_at(at)
    least = 0.0 if at in case.impatient else case.patience
    last_word = 1.1 if case.flow == "acquire" else 0.1
    assert least <= lasted <= least + last_word


@each_case
def test_the_first_contact_with_a_server_that_cannot_be_reached_raises_at_once(case):
    stage = Stage()
    with pytest.raises(Outage):
        case.play(stage, (case.script[0][0], outage()))
    assert stage.asked == [case.script[0][0]]


@each_yield
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_outage_while_it_cleans_up_neither_hides_the_exception_nor_holds_it_up(case, at, error, caplog):
    stage = Stage(contacted=True)
    thrown = error("from outside")
    with pytest.raises(error) as caught:
        stage.feed(case.start(stage), up_to(case, at, thrown))
    assert caught.value is thrown
    assert stage.clock() - stage.began_at(at) <= 1.1
    clean_up = cleaning_up(case, error)
    assert set(stage.asked[at + 1 :]) <= {*clean_up, "pause"}
    assert ("comes back by its TTL" in caplog.text) == bool(clean_up)


@each_case
def test_interrupted_at_the_first_contact_it_does_not_hold_the_caller_up_where_there_is_no_server(case):
    stage = Stage()
    with pytest.raises(KeyboardInterrupt):
        stage.feed(case.start(stage), up_to(case, 0, KeyboardInterrupt()))
    assert stage.asked[1:] == cleaning_up(case, KeyboardInterrupt)
    assert stage.clock() == stage.began_at(0)


@each_yield
def test_a_refusal_of_the_server_comes_out_as_it_is(case, at):
    refusal = PermissionError("NOPERM")
    stage = Stage(contacted=True)
    clean_up = [(name, PermissionError("NOPERM")) for name in cleaning_up(case, PermissionError)]
    with pytest.raises(PermissionError) as caught:
        case.play(stage, *case.script[:at], (case.script[at][0], refusal), *clean_up)
    assert caught.value is refusal


@each_yield_where(is_script_of_a_pool)
def test_data_of_another_version_is_named_and_nothing_more_is_asked(case, at):
    with pytest.raises(ProtocolMismatch, match=r"pool 'lab' holds data of protocol version 9.* same version"):
        case.play(Stage(), *case.script[:at], (case.script[at][0], [b"mismatch", b"9"]))


@each_yield_where(is_script_of_a_pool)
def test_a_key_of_the_wrong_type_is_named_and_nothing_more_is_asked(case, at):
    with pytest.raises(ProtocolMismatch, match=r"key 'some:key' should hold a list, and holds a hash.*namespace"):
        case.play(Stage(), *case.script[:at], (case.script[at][0], [b"wrongtype", b"some:key", b"list", b"hash"]))


@each_yield
def test_a_foreign_key_met_in_the_middle_comes_out_as_the_mismatch_it_is(case, at):
    mismatch = ProtocolMismatch("WRONGTYPE")
    with pytest.raises(ProtocolMismatch) as caught:
        case.play(Stage(contacted=True), *case.script[:at], (case.script[at][0], mismatch))
    assert caught.value is mismatch
