"""What holds for every command."""

from __future__ import annotations

import sys

import pytest
import redis

from redispool.cli.exits import ExitStatus, reason_of, status_of
from redispool.cli.options import shown_url
from redispool.errors import AcquireTimeout, ConfigError, PoolEmpty

from .terminals import Running


def run(*words, **options):
    running = Running(*words, **options)
    return running.end(), running.output


def test_it_tells_its_version():
    status, output = run("--version")
    assert status == ExitStatus.OK
    assert output.startswith("redispool 0.")


def test_it_explains_itself_and_its_exit_statuses():
    status, output = run("--help")
    assert status == ExitStatus.OK
    assert "demo" in output
    assert "69 no Redis server" in output


@pytest.mark.parametrize("words", [["nonsense"], ["demo", "--nonsense"], ["demo", "--workers", "1"]])
def test_wrong_usage_is_status_2(words):
    status, output = run(*words)
    assert status == ExitStatus.USAGE
    assert "Traceback" not in output


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_it_says_what_to_install(missing):
    blocked = f"import sys; sys.modules[{missing!r}] = None; from redispool.cli import main; sys.exit(main())"
    status, output = run("demo", command=[sys.executable, "-c", blocked])
    assert status == 1
    assert "pip install 'redispool[cli]'" in output
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AcquireTimeout("late"), 75),
        (ConfigError("wrong"), 2),
        (redis.ConnectionError("refused"), 69),
        (redis.TimeoutError("slow"), 69),
        (PoolEmpty("empty"), 1),
        (RuntimeError("a defect"), 1),
    ],
)
def test_each_error_has_its_exit_status_and_one_line(error, status):
    assert status_of(error) == status
    assert str(error) in reason_of(error)
    assert "\n" not in reason_of(error)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@example.org:6379/0", "redis://example.org:6379/0"),
        ("redis://user:se@cret@example.org/0", "redis://example.org/0"),
        ("redis+sentinel://:secret@a:1,b:2/service/0?password=secret", "redis+sentinel://a:1,b:2/service/0"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("user:secret@host", "the given URL"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    assert shown_url(url) == shown


def test_a_traceback_is_shown_only_on_request():
    words = ["demo", "--url", "http://nowhere"]
    status, output = run(*words)
    assert status == ExitStatus.USAGE
    assert output.startswith("redispool: ")
    assert "Traceback" not in output
    _, output = run("--debug", *words)
    assert "Traceback" in output
