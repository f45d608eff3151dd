"""`redispool doctor`: what is wrong is found, said, and seen in the exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from redispool import Account
from tests.servers import free_port


def findings(shell, *words, status=0, **options):
    got, output = shell.run("doctor", "--json", *words, **options)
    assert got == status, output
    return json.loads(output)


def levels(found, check):
    return [one["level"] for one in found if one["check"] == check]


def test_where_all_is_well_nothing_is_advised(own_server, own_shell):
    own_shell.server = own_server("valkey", appendonly="yes")
    key = Fernet.generate_key().decode()
    own_shell.pool(2, cipher=key)
    with own_shell.server.client() as client:
        client.acl_setuser("worker", enabled=True, nopass=True, commands=["+@all"], keys=["*"], channels=["*"])
    url = own_shell.server.url.replace("//", "//worker:x@")
    found = findings(own_shell, "--deep", REDISPOOL_KEY=key, REDISPOOL_URL=url)
    assert {one["level"] for one in found} == {"ok"}
    checks = {"connection", "version", "eviction", "memory", "persistence", "replicas", "clock", "latency", "TLS"}
    assert {one["check"] for one in found} >= {*checks, "rights", "trial", "private pools", "pool default"}


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_what_is_wrong_with_a_server_is_said_with_what_to_do(own_server, own_shell, kind):
    own_shell.server = own_server(kind, maxmemory="100mb", maxmemory_policy="allkeys-lru")
    own_shell.pool(1)
    found = findings(own_shell, status=1)
    assert levels(found, "eviction") == ["fail"]
    assert levels(found, "persistence") == ["warn"]
    assert levels(found, "rights") == ["warn"]
    assert all(one["advice"] for one in found if one["level"] != "ok")


def test_a_replica_and_a_user_without_rights_are_noticed(own_server, own_shell):
    primary = own_shell.server
    own_shell.server = own_server("valkey", replicaof=f"127.0.0.1 {primary.port}")
    assert levels(findings(own_shell, status=1), "replicas") == ["fail"]
    with primary.client() as client:
        client.acl_setuser("nobody", enabled=True, nopass=True, commands=["+ping", "+smembers"], keys=["*"])
    found = findings(own_shell, REDISPOOL_URL=primary.url.replace("//", "//nobody:x@"))
    assert "may not look" in next(one["found"] for one in found if one["check"] == "version")
    assert levels(found, "trial") == ["warn"]


def test_a_pool_of_another_protocol_one_without_a_key_and_one_that_is_all_quarantined(shell, cli_server):
    shell.pool(1, name="foreign")
    shell.pool(1, name="sealed", cipher=Fernet.generate_key())
    shell.pool(1, name="out").quarantine("a1")
    with cli_server.client() as client:
        client.hset(f"{shell.namespace}:{{foreign}}:meta", "version", "99")
    found = findings(shell, status=1)
    assert levels(found, "pool foreign") == ["fail"]
    assert levels(found, "pool sealed") == ["ok", "warn"]
    assert levels(found, "pool out")[0] == "fail"
    assert levels(findings(shell, "sealed"), "pool foreign") == []


def test_deep_it_finds_keys_that_contradict_each_other_and_pools_in_no_list(shell, cli_server):
    shell.pool(2)
    shell.pool(1, name="lost")
    with cli_server.client() as client:
        client.lpop(f"{shell.namespace}:{{default}}:rotation")
        client.srem(f"{shell.namespace}:pools", "lost")
    assert "fail" not in {one["level"] for one in findings(shell)}
    found = findings(shell, "--deep", status=1)
    assert "fail" in levels(found, "pool default")
    assert "'lost'" in next(one["found"] for one in found if one["check"] == "unknown keys")


def test_the_private_pool_of_a_killed_creator_is_found_and_removed_and_no_other(shell, cli_server):
    program = (
        "import os, sys; from redispool import *; AccountPool([Account('a')], redis=sys.argv[1], namespace=sys.argv[2])"
    )
    words = [sys.executable, "-c", program + "; os._exit(0)", cli_server.url, shell.namespace]
    subprocess.run(words, check=True)
    mine = shell.pool([Account("mine")], name=None)
    assert levels(findings(shell), "private pools") == ["warn"]
    assert "were removed" in shell.says("doctor", "--prune")
    assert levels(findings(shell), "private pools") == ["ok"]
    assert mine.n_accounts() == 1
    with cli_server.client() as client:
        left = client.keys(f"{shell.namespace}:*private:*")
    assert all(str(os.getpid()) in key.decode() for key in left)


def test_on_a_terminal_and_in_a_pipe_it_reads_well(shell):
    shell.pool(1)
    for text in shell.both("doctor"):
        assert "no limit" in text
        assert "set appendonly yes" in text
        assert "warnings, 0 failures" in text


def test_without_a_server_it_is_status_69():
    from .terminals import Running

    running = Running("doctor", "--url", f"redis://127.0.0.1:{free_port()}/0")
    assert running.end() == 69
    assert "cannot reach the Redis server" in running.output
