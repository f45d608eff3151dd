"""Logs over a stream: written by many processes, read back by any."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading

import pytest
import redis

from redispool import AccountManager, ConfigError, Log, Logger, LoggerProxy, ProtocolMismatch
from redispool.protocol.log_flows import MAX_TEXT

from .conftest import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def manager(server):
    return AccountManager(redis=server.url)


@pytest.fixture
def logger(server, pool_name):
    return Logger(pool_name, redis=server.url)


@pytest.fixture
def proxy(manager, pool_name):
    return LoggerProxy(manager, pool_name)


def stream(pool_name: str) -> str:
    return f"redispool:log:{{{pool_name}}}"


def exc_info(error: BaseException):
    try:
        raise error
    except type(error):
        return sys.exc_info()


def test_a_job_is_logged_from_its_beginning_to_its_end(proxy, logger):
    assert logger.get_logs() == []
    assert proxy.add_log("job", "router1", 1) == Log("job", "router1", 1)
    proxy.log("job", "show version\n")
    (running,) = logger.get_logs()
    assert (running.text, running.ended, running.error) == ("show version\n", False, None)
    proxy.log("job", "it is ä \udc80 \x00 \U0001f600")
    proxy.log("job", "")
    proxy.log_succeeded("job")
    (log,) = logger.get_logs()
    assert (log.get_name(), log.attempt, log.text) == ("router1", 1, "show version\nit is ä \udc80 \x00 \U0001f600")
    assert (log.has_ended(), log.has_error(), log.get_error()) == (True, False, None)
    assert str(log) == log.text
    assert len(log) == len(log.text)
    assert (logger.get_succeeded_actions(), logger.get_aborted_actions()) == (1, 0)
    assert running.text == "show version\n"  # what was read is as it was


def test_a_failure_is_logged_with_its_traceback_and_the_next_attempt_stands_beside_it(proxy, logger):
    proxy.add_log("job", "router1", 1)
    proxy.log("job", "connecting")
    proxy.log_aborted("job", exc_info(ValueError("no route")))
    proxy.add_log("job", "router1", 2)
    proxy.log("job", "connecting again")
    proxy.log_succeeded("job")
    first, second = logger.get_logs("job")
    assert (first.attempt, first.text, first.ended) == (1, "connecting", True)
    assert first.error.startswith("Traceback (most recent call last):")
    assert "exc_info" in first.error
    assert first.error.endswith("ValueError: no route\n")
    assert first.get_error(include_tb=False) == "no route"
    assert str(first) == "connecting" + first.error
    assert (second.attempt, second.text, second.error) == (2, "connecting again", None)
    assert logger.get_aborted_logs() == [first]
    assert logger.get_succeeded_logs() == [second]
    assert logger.get_logs("another job") == []


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError("not even its message")


@pytest.mark.parametrize(
    ("given", "error", "reason"),
    [
        ((ValueError, ValueError("x"), "its traceback as text"), "its traceback as text", "x"),
        ((ValueError, ValueError("x"), None), "ValueError: x\n", "x"),
        (KeyError(), "KeyError\n", "KeyError"),
        (UnspeakableError(), "str() failed", "UnspeakableError"),
        (KeyboardInterrupt(), "KeyboardInterrupt\n", "KeyboardInterrupt"),
        (ValueError("y" * 3 * MAX_TEXT), "the middle is left out", "yyyy"),
    ],
)
def test_an_exception_travels_as_text_whatever_it_is(proxy, logger, given, error, reason):
    proxy.add_log(7, "router1", 1)
    proxy.log_aborted(7, given)
    (log,) = logger.get_aborted_logs()
    assert error in log.error
    assert reason in log.reason
    assert log.job_id == "7"


def test_a_message_of_any_length_is_kept_whole(proxy, logger):
    text = "".join(chr(0x4E00 + number % 5000) for number in range(5 * MAX_TEXT // 2))
    proxy.add_log(1, "router1", 1)
    proxy.log(1, text)
    assert logger.get_logs(1)[0].text == text


@pytest.mark.parametrize("call", [lambda p: p.log("lost", "x"), lambda p: p.log_succeeded("lost"),
                                  lambda p: p.log_aborted("lost", ValueError("x"))])  # fmt: skip
def test_a_job_whose_log_was_not_begun_is_refused(proxy, logger, call):
    proxy.add_log("known", "router1", 1)
    with pytest.raises(ConfigError, match="job 'lost' has no log; begin one with add_log"):
        call(proxy)
    assert [log.job_id for log in logger.get_logs()] == ["known"]


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda p: p.add_log(None, "n", 1), "the id of a job must be a string"),
        (lambda p: p.add_log(True, "n", 1), "the id of a job must be a string"),
        (lambda p: p.add_log("", "n", 1), "the id of a job must not be empty"),
        (lambda p: p.add_log(1, 5, 1), "the name of a log must be a string"),
        (lambda p: p.add_log(1, "n", "1"), "attempt must be a whole number"),
        (lambda p: p.log(1, b"bytes"), "the message must be a string"),
        (lambda p: p.log_aborted(1, "text"), "exc_info must be"),
        (lambda p: p.log_aborted(1, (None, None, None)), "exc_info must be"),
        (lambda p: LoggerProxy(p.parent, "{x}"), "the id of a logger"),
        (lambda p: LoggerProxy("redis://x", "x"), "parent must be an AccountManager"),
        (lambda p: LoggerProxy(p.parent, "x", max_entries=0), "max_entries"),
        (lambda p: LoggerProxy(p.parent, "x", max_age=0), "max_age"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_sent(proxy, logger, call, complaint):
    with pytest.raises(ConfigError, match=complaint):
        call(proxy)
    assert logger.get_logs() == []


def test_another_proxy_goes_on_with_a_job_that_was_begun_elsewhere(manager, pool_name, proxy, logger):
    for number in range(250):  # more than a page of the stream
        proxy.add_log(number, f"router{number}", 1)
    proxy.log(3, "begun, ")
    other = LoggerProxy(manager, pool_name)
    other.log(3, "continued, ")
    proxy.log(3, "ended")
    other.log_succeeded(3)
    proxy.log(3, " and more")
    (log,) = logger.get_logs(3)
    assert (log.text, log.ended) == ("begun, continued, ended and more", True)
    assert len(logger.get_logs()) == 250


def run_jobs(url: str, logger_id: str, worker: int, jobs: int, same_ids: bool) -> None:
    proxy = LoggerProxy(AccountManager(redis=url), logger_id)

    def run(thread: int) -> None:
        for number in range(thread, jobs, 5):
            job = number if same_ids else worker * jobs + number
            proxy.add_log(job, f"worker{worker}-{number}", 1)
            for line in range(5):
                proxy.log(job, f"{worker}.{number}.{line}\n")
            if number % 2:
                proxy.log_aborted(job, exc_info(ValueError(f"failed {worker}.{number}")))
            else:
                proxy.log_succeeded(job)

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("same_ids", [False, True])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_hundred_jobs_on_four_processes_lose_and_mix_nothing(server, pool_name, logger, method, same_ids):
    context = multiprocessing.get_context(method)
    workers = [
        context.Process(target=run_jobs, args=(server.url, pool_name, worker, 50, same_ids)) for worker in range(4)
    ]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):  # a reader at the same time sees nothing half
        assert all(log.text == "" or log.text.endswith("\n") for log in logger.get_logs())
    for worker in workers:
        worker.join()
    logs = {log.name: log for log in logger.get_logs()}
    assert len(logs) == len(logger.get_logs()) == 200
    assert len({log.job_id for log in logs.values()}) == (50 if same_ids else 200)
    for worker in range(4):
        for number in range(50):
            log = logs[f"worker{worker}-{number}"]
            assert log.text == "".join(f"{worker}.{number}.{line}\n" for line in range(5))
            assert log.reason == (f"failed {worker}.{number}" if number % 2 else None)
            assert log.ended
    assert (logger.get_succeeded_actions(), logger.get_aborted_actions()) == (100, 100)
    later = Logger(pool_name, redis=server.url)
    assert later.get_logs() == logger.get_logs()


def test_a_forked_childs_entries_are_its_own(manager, proxy, logger):
    proxy.add_log("parents", "parent", 1)
    process = multiprocessing.get_context("fork").Process(
        target=lambda: (proxy.add_log("childs", "child", 1), proxy.log("childs", "x"), proxy.log("parents", "child"))
    )
    process.start()
    process.join()
    proxy.log("parents", ", parent")
    assert [(log.name, log.text) for log in logger.get_logs()] == [("parent", "child, parent"), ("child", "x")]


def test_the_stream_is_capped_and_a_reader_forgets_what_is_gone(manager, pool_name, logger, client):
    proxy = LoggerProxy(manager, pool_name, max_entries=100)
    proxy.add_log("old", "router1", 1)
    proxy.log_succeeded("old")
    assert [log.job_id for log in logger.get_logs()] == ["old"]
    proxy.add_log("long", "router2", 3)
    for number in range(500):
        proxy.log("long", f"{number} ")
        if number == 1:
            assert logger.get_logs("long")[0].text == "0 1 "
    assert 100 <= client.xlen(stream(pool_name)) < 500
    (log,) = logger.get_logs()
    assert (log.job_id, log.name, log.attempt) == ("long", "router2", 3)
    assert log.text.startswith("0 1 ")  # it was read while it was there
    (rest,) = Logger(pool_name, redis=client).get_logs()
    assert (rest.name, rest.attempt) == ("router2", 3)
    assert log.text.endswith(rest.text)
    assert rest.text.endswith("498 499 ")


def test_a_stream_is_gone_when_nothing_was_logged_for_its_age(manager, pool_name, logger, client):
    LoggerProxy(manager, pool_name).add_log("job", "router1", 1)
    assert 29 * 86400 < client.ttl(stream(pool_name)) <= 30 * 86400
    proxy = LoggerProxy(manager, pool_name, max_age=1)
    proxy.log("job", "x")
    wait_until(lambda: not client.exists(stream(pool_name)))
    assert logger.get_logs() == []
    with pytest.raises(ConfigError, match="has no log"):
        LoggerProxy(manager, pool_name).log("job", "too late")


def test_an_entry_that_was_sent_twice_is_read_once(proxy, logger, client, pool_name):
    proxy.add_log("job", "router1", 1)
    proxy.log("job", "once, ")
    for _, fields in client.xrange(stream(pool_name)):
        client.xadd(stream(pool_name), fields)  # a request whose reply was lost
    proxy.log("job", "and again")
    assert [log.text for log in logger.get_logs()] == ["once, and again"]


@pytest.mark.parametrize(
    "fields",
    [
        {"foreign": "x"},
        {"event": "message", "job": "j", "name": "n", "attempt": "1", "run": "r", "n": "w:x"},
        {"event": "message", "job": "j", "name": "n", "attempt": "9" * 5000, "run": "r", "n": "w:1"},
        {"event": "exploded", "job": "j", "name": "n", "attempt": "1", "run": "r", "n": "w:1"},
        {"event": "message", "job": "j", "name": "n", "attempt": "1", "run": "r", "n": "w:1", "text": b"\xff"},
        {"event": "message", "job": "j", "name": "n", "attempt": "1", "run": "r", "n": "w:1", "text": b"x" * 300_000},
        {"event": "message", "job": "", "name": "n", "attempt": "1", "run": "r", "n": "w:1"},
    ],
)
def test_foreign_entries_are_refused(logger, client, pool_name, fields):
    client.xadd(stream(pool_name), fields)
    with pytest.raises(ProtocolMismatch, match=r"entry \d+-\d+ of stream .* is none that redispool wrote"):
        logger.get_logs()


def test_a_key_of_another_type_is_refused(logger, proxy, client, pool_name):
    client.set(stream(pool_name), "x")
    for call in (logger.get_logs, lambda: proxy.add_log("job", "n", 1)):
        with pytest.raises(ProtocolMismatch, match="something else"):
            call()


def test_logging_rides_out_a_restart(own_server):
    server = own_server(appendonly="yes", appendfsync="always")
    proxy = LoggerProxy(AccountManager(redis=server.url), "x")
    logger = Logger("x", redis=server.url)
    proxy.add_log("job", "router1", 1)
    server.kill()
    thread = threading.Thread(target=proxy.log, args=("job", "through the outage"))
    thread.start()
    server.start()
    thread.join()
    assert logger.get_logs()[0].text == "through the outage"
    server.kill()
    with pytest.raises(redis.ConnectionError):  # the first contact raises at once
        Logger("x", redis=server.url).get_logs()


def test_nobody_but_the_namespace_sees_its_logs(server, pool_name, logger):
    manager = AccountManager(redis=server.url, namespace="elsewhere")
    LoggerProxy(manager, pool_name).add_log(os.getpid(), "router1", 1)
    assert logger.get_logs() == []
    assert len(Logger(pool_name, redis=server.url, namespace="elsewhere").get_logs()) == 1
