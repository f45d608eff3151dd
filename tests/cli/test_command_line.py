"""What holds for every command."""

from __future__ import annotations

import re
import sys

import pytest
import redis

from redispool.cli.app import app
from redispool.cli.exits import ExitStatus, reason_of, status_of
from redispool.cli.options import shown_url
from redispool.errors import AcquireTimeout, ConfigError, PoolEmpty

from .terminals import COMMAND, Running


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


@pytest.mark.parametrize("url", ["redis+sentinel://u:s3cret@127.0.0.1:1/svc", "redis+cluster://u:s3cret@127.0.0.1:1"])
def test_without_sentinels_or_a_cluster_it_is_status_69_too_and_one_plain_line(url):
    status, output = run("pools", REDISPOOL_URL=url)
    assert (status, len(output.splitlines())) == (69, 1), output
    assert "cannot reach" in output
    assert "s3cret" not in output
    assert "<redis" not in output


def test_who_is_not_let_in_by_the_server_is_told_so(cli_server):
    status, output = run("pools", REDISPOOL_URL=cli_server.url.replace("//", "//nobody:s3cret@"))
    assert (status, "refuses the login" in output, "s3cret" in output) == (69, True, False), output


@pytest.mark.parametrize("words", [["--help"], ["nonsense"], ["pools", "--nonsense"]])
def test_no_color_holds_for_help_and_usage_errors(words):
    assert "\x1b[" in run(*words, terminal=True)[1]
    assert "\x1b[" not in run("--no-color", *words, terminal=True)[1]


def test_who_reads_no_further_has_ended_the_command_by_sigpipe():
    command = ["bash", "-c", '"$@" | (exec <&-; sleep 1); exit ${PIPESTATUS[0]}', "bash", *COMMAND]
    status, output = run("--help", command=command)
    assert (status, output) == (141, "")


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


def test_the_shell_completes_commands_and_the_names_of_pools(shell):
    shell.pool(1, name="lab")
    shell.pool(1, name="lobby")
    shell.pool(1, name="spare")

    def completions(line):
        words = line.split(" ")
        settings = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_REDISPOOL_COMPLETE": "complete_bash"}
        return shell.run(**settings)[1].split()

    assert completions("redispool sta") == ["status"]
    assert completions("redispool status l") == ["lab", "lobby"]
    assert completions("redispool run --pool lo") == ["lobby"]
    assert "complete" in shell.says("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")


def test_colours_are_for_terminals_only_and_not_for_who_does_not_want_them(shell):
    shell.pool(2)
    coloured = "\x1b["
    assert coloured in shell.says("pools", terminal=True)
    assert coloured not in shell.says("pools")
    for output in (shell.says("pools", terminal=True, NO_COLOR="1"), shell.says("--no-color", "pools", terminal=True)):
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", output)


def test_every_command_explains_itself_within_80_columns_and_says_what_its_json_is(shell):
    without_json = {"run", "demo", "top", "web"}
    commands = {command.name or command.callback.__name__: command for command in app.registered_commands}
    assert len(commands) > 20
    for name, command in commands.items():
        assert name in without_json or "JSON:" in command.callback.__doc__, name
    assert max(map(len, shell.says("run", "--help").splitlines())) <= 80
