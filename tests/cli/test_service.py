"""The commands acl, reseal and bench."""

from __future__ import annotations

import json

import pytest
import redis
from cryptography.fernet import Fernet

from .conftest import wait_for


def test_the_line_of_acl_makes_a_worker_who_can_run_commands_and_change_nothing(own_server, own_shell, tmp_path):
    own_shell.server = own_server("valkey")
    own_shell.pool(1)
    (tmp_path / "password").write_text("s3cret\n")
    words = ["acl", "default", "--role", "worker", "--user", "w", "--password-file", str(tmp_path / "password")]
    line = own_shell.says(*words)
    assert line == own_shell.says(*words, terminal=True).replace("\r\n", "\n")
    assert "s3cret" not in line
    with own_shell.server.client() as client:
        client.execute_command(*line.split())
    assert json.loads(own_shell.says(*words, "--json"))["line"] == line.strip()
    url = own_shell.server.url.replace("//", "//w:s3cret@")
    assert own_shell.says("run", "sh", "-c", "echo $ACCOUNT_NAME", REDISPOOL_URL=url) == "a1\n"
    status, output = own_shell.run("remove", "default", "a1", REDISPOOL_URL=url)
    assert status == 1
    assert "Traceback" not in output
    assert own_shell.pool().n_accounts() == 1
    status, output = own_shell.run("acl", "default", "--role", "king")
    assert status == 2


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_a_reader_looks_at_his_pool_by_all_commands_that_look_and_at_nothing_else(
    own_server, own_shell, tmp_path, kind
):
    own_shell.server = own_server(kind)
    own_shell.pool(1).acquire_account(owner="bob")
    own_shell.pool(1, name="other")
    (tmp_path / "password").write_text("s3cret\n")
    words = ["acl", "--pool", "default", "--role", "reader", "--password-file", str(tmp_path / "password")]
    with own_shell.server.client() as client:
        client.execute_command(*own_shell.says(*words).split())
    url = own_shell.server.url.replace("//", "//default-reader:s3cret@")
    assert "bob" in own_shell.says("status", "default", REDISPOOL_URL=url)
    assert "granted" in own_shell.says("events", "default", REDISPOOL_URL=url)
    assert "Nobody" in own_shell.says("waiting", "default", REDISPOOL_URL=url)
    running = own_shell.start("events", "default", "--follow", "--json", REDISPOOL_URL=url)
    wait_for(running, "bob")
    status, output = own_shell.run("status", REDISPOOL_URL=url)
    assert (status, "name the pool" in output) == (2, True)
    for refused in (["status", "other"], ["show", "default", "a1"], ["export", "default"], ["run", "true"]):
        status, output = own_shell.run(*refused, REDISPOOL_URL=url)
        assert (status, "redispool acl" in output, "Error" in output) == (1, True, False)


@pytest.mark.parametrize("words", [[], ["lab", "--pool", "lab"]])
def test_acl_needs_one_pool(shell, words):
    status, output = shell.run("acl", *words)
    assert (status, "one pool" in output) == (2, True)


def test_a_pool_is_sealed_anew_while_it_is_in_use(shell):
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    pool = shell.pool(3, cipher=old)
    status, output = shell.run("reseal", "default")
    assert status == 2
    assert "REDISPOOL_KEY" in output
    with pool.lease():
        assert "sealed 3 accounts" in shell.says("reseal", "default", REDISPOOL_KEY=f"{new},{old}", terminal=True)
    again = json.loads(shell.says("reseal", "default", "--json", REDISPOOL_KEY=f"{new},{old}"))
    assert again == {"resealed": 0}
    assert shell.pool(cipher=new).get_account_from_name("a1").get_password() == "secret-1"


def test_bench_measures_and_leaves_nothing_behind(shell, cli_server):
    words = ["bench", "--seconds", "0.2", "--workers", "3", "--accounts", "1"]
    for text in shell.both(*words):
        assert "3 threads, 1 accounts" in text
    measured = json.loads(shell.says(*words, "--json"))
    assert measured["round_trip"] > 0
    for one in (measured["alone"], measured["together"], measured["waiting"]):
        assert one["turns"] > 0
        assert 0 < one["p50"] <= one["p95"] <= one["p99"]
        assert one["server"] > 0
    waiting = measured["waiting"]
    assert 0 < waiting["handoff_p50"] <= waiting["handoff_p95"] <= waiting["handoff_p99"]
    assert 1 / 3 <= waiting["jain"] <= 1 <= waiting["longest_wait"]
    with cli_server.client() as client:
        assert client.keys(f"{shell.namespace}:*") == []


def test_bench_measures_where_nobody_has_to_wait_and_the_server_does_not_tell_its_own_time(own_server, own_shell):
    own_shell.server = server = own_server("valkey")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
        measured = json.loads(own_shell.says("bench", "--seconds", "0.2", "--workers", "1", "--json"))
        assert measured["alone"]["server"] is None
        assert measured["waiting"]["handoff_p50"] is None
        assert "one alone" in own_shell.says("bench", "--seconds", "0.1", "--workers", "1")
        assert client.keys() == []


@pytest.mark.parametrize("words", [["run", "true"], ["pools"], ["bench"], ["reseal", "p"], ["events", "-f"]])
def test_without_a_server_every_command_ends_with_status_69(shell, cli_server, words):
    status, output = shell.run(*words, REDISPOOL_URL="redis://127.0.0.1:1/0")
    assert status == 69
    assert len(output.splitlines()) == 1
    assert redis.ConnectionError.__name__ not in output
