"""The commands that change a pool: what accounts it has, who may have them, and which hosts it serves."""

from __future__ import annotations

import json
import stat
import time

import pytest
from cryptography.fernet import Fernet

from redispool import Account
from tests.conftest import wait_until

from .conftest import wait_for

BOTH = pytest.mark.parametrize("terminal", [False, True])


# -- accounts --------------------------------------------------------------------------------------------------------


def test_a_password_comes_through_a_pipe_or_from_a_file(shell, tmp_path):
    (tmp_path / "password").write_text("from file\n")
    assert "added account 'alice'" in shell.says("add", "lab", "alice", stdin="from pipe\n")
    words = ["--password-file", str(tmp_path / "password"), "--max-sessions", "2", "--label", "site=b", "--json"]
    assert json.loads(shell.says("add", "lab", "bob", *words)) == {"added": 1}
    assert "updated account 'alice'" in shell.says("add", "lab", "alice", "--password-file", "-", stdin="anew")
    pool = shell.pool(name="lab")
    assert [account.get_password() for account in pool.accounts] == ["anew", "from file"]
    assert pool.get_account_from_name("bob").max_sessions == 2
    assert pool.get_account_from_name("bob").labels == {"site": "b"}
    shell.says("set-password", "lab", "alice", "--authorization", stdin="enable")
    assert pool.get_account_from_name("alice").get_authorization_password() == "enable"


@pytest.mark.parametrize("words", [["add", "lab", "alice"], ["set-password", "lab", "alice"]])
def test_a_password_is_asked_for_twice_on_a_terminal_and_never_shown(shell, words):
    shell.pool([Account("alice", "old")], name="lab")
    running = shell.start(*words, terminal=True)
    wait_for(running, "assword of alice:" if words[0] == "add" else "New password of alice:")
    running.type(b"s3cret\r")
    wait_for(running, "epeat")
    running.type(b"s3cret\r")
    assert running.end() == 0, running.output
    assert "s3cret" not in running.output
    assert shell.pool(name="lab").get_account_from_name("alice").get_password() == "s3cret"


@pytest.mark.parametrize("content", ["", "\n", "two\nlines\n"])
def test_what_is_no_password_changes_nothing(shell, content):
    status, output = shell.run("add", "lab", "alice", stdin=content)
    assert status == 2, output
    assert not shell.client_knows("lab")


def test_accounts_are_renamed_and_removed(shell):
    pool = shell.pool(5)
    assert "renamed" in shell.says("rename", "default", "a1", "first")
    assert json.loads(shell.says("rename", "default", "a2", "second", "--json", terminal=True)) == {"renamed": 1}
    assert "removed 2 accounts" in shell.says("remove", "default", "first", "second")
    running = shell.start("remove", "default", "a3", terminal=True)
    wait_for(running, "Remove account 'a3'")
    running.type(b"n\r")
    assert running.end() == 1
    assert json.loads(shell.says("remove", "default", "a3", "--yes", "--json", terminal=True)) == {"removed": 1}
    assert [account.name for account in pool.accounts] == ["a4", "a5"]
    status, output = shell.run("remove", "default", "a4", "nobody")
    assert status == 1
    assert "'nobody'" in output
    assert pool.n_accounts() == 2


def test_what_export_lists_import_takes_without_a_secret_in_it(shell, tmp_path):
    shell.pool(
        [Account("alice", "s3cret", max_sessions=2, labels={"site": "b", "tier": "1"}), Account("bob", "s3cret")]
    )
    piped, shown = shell.both("export", "default")
    assert piped == shown == 'name,max_sessions,labels\nalice,2,"site=b,tier=1"\nbob,1,\n'
    assert json.loads(shell.says("export", "default", "--json"))[1] == {"name": "bob", "max_sessions": 1, "labels": {}}
    (tmp_path / "accounts.csv").write_text(piped)
    file = str(tmp_path / "accounts.csv")
    assert "lists 2 accounts" in shell.says("import", "other", file, "--dry-run")
    assert json.loads(shell.says("import", "other", file, "--json")) == {"added": 2, "updated": 0}
    assert "updated 2" in shell.says("import", "other", file, terminal=True)
    assert shell.pool(name="other").get_account_from_name("alice").labels == {"site": "b", "tier": "1"}


def test_what_export_lists_as_json_import_takes_from_a_pipe_and_nothing_is_lost(shell):
    labels = {"site": "b,c", "tier": "1"}
    shell.pool([Account("alice", "s3cret", labels=labels), Account("bob", "s3cret", needs_lock=False)])
    listed = shell.says("export", "default", "--json")
    assert "added 2" in shell.says("import", "other", "-", stdin=listed)
    alice, bob = shell.pool(name="other").accounts
    assert (alice.labels, alice.needs_lock, bob.needs_lock) == (labels, True, False)
    status, output = shell.run("export", "default")
    assert (status, "--json" in output) == (2, True), output


def test_a_file_without_credentials_takes_none_away(shell):
    pool = shell.pool([Account("alice", "s3cret"), Account("bob")])
    for file in ("name\nalice\n", "name,password\nbob,\nalice,\n"):
        status, output = shell.run("import", "default", "-", stdin=file)
        assert (status, "'alice'" in output) == (2, True), output
    assert pool.get_account_from_name("alice").get_password() == "s3cret"
    assert "added 1, updated 1" in shell.says("import", "default", "-", stdin="name,labels\nbob,site=b\ncarol,\n")
    assert pool.get_account_from_name("bob").labels == {"site": "b"}


def test_a_file_is_written_for_us_alone_also_where_there_is_one_for_all(shell, tmp_path):
    shell.pool(1)
    (tmp_path / "list").write_text("x" * 1000)
    (tmp_path / "list").chmod(0o644)
    shell.says("export", "default", "--output", str(tmp_path / "list"))
    assert (tmp_path / "list").read_text() == "name,max_sessions,labels\na1,1,\n"
    assert stat.S_IMODE((tmp_path / "list").stat().st_mode) == 0o600
    status, output = shell.run("export", "default", "--output", str(tmp_path / "none" / "list"))
    assert (status, "No such file" in output, "Error" in output) == (2, True, False)


def test_names_that_would_steer_the_terminal_do_not_but_a_pipe_has_them(shell):
    shell.pool([Account("left\N{RIGHT-TO-LEFT OVERRIDE}right")])
    piped, shown = shell.both("export", "default")
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" in piped
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in shown


@pytest.mark.parametrize("one", [{"nme": "a"}, {"name": "a", "record": 1}, "a"])
def test_what_is_no_whole_sealed_export_is_said_to_be_none(shell, one):
    document = {"format": "redispool sealed accounts 1", "pool": "lab", "accounts": [one]}
    status, output = shell.run("import", "lab", "-", stdin=json.dumps(document))
    assert (status, "no whole export" in output) == (2, True), output


def test_a_sealed_export_is_a_backup_that_opens_with_the_key_only(shell, tmp_path):
    key, backup = Fernet.generate_key().decode(), str(tmp_path / "backup")
    shell.pool([Account("alice", "s3cret")], name="lab", cipher=key)
    shell.says("export", "lab", "--sealed", "--output", backup)
    text = (tmp_path / "backup").read_text()
    assert '"alice"' in text
    assert "s3cret" not in text
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600
    status, output = shell.run("import", "copy", backup)
    assert status == 1
    assert "REDISPOOL_KEY" in output
    shell.says("import", "copy", backup, REDISPOOL_KEY=key)
    assert shell.pool(name="copy", cipher=key).get_account_from_name("alice").get_password() == "s3cret"


def test_a_sealed_export_of_what_is_not_sealed_is_refused(shell):
    shell.pool([Account("alice", "s3cret")])
    status, output = shell.run("export", "default", "--sealed")
    assert status == 1
    assert "not sealed" in output
    assert "s3cret" not in output


def test_a_bad_file_changes_nothing_and_shows_nothing(shell, tmp_path):
    (tmp_path / "accounts.csv").write_text("name,password\nalice,s3cret,x\n")
    status, output = shell.run("import", "lab", str(tmp_path / "accounts.csv"))
    assert status == 2
    assert "line 2" in output
    assert "s3cret" not in output


# -- who may have them -----------------------------------------------------------------------------------------------


@BOTH
def test_an_account_is_quarantined_restored_reserved_and_released(shell, terminal):
    pool = shell.pool(1)
    assert "quarantined" in shell.says("quarantine", "default", "a1", "-r", "odd", terminal=terminal)
    assert pool.status().quarantine[0].reason == "odd"
    assert "restored" in shell.says("restore", "default", "a1", terminal=terminal)
    words = ["reserve", "default", "a1", "--owner", "carol", "--for", "30m", "--note", "repair", "--json"]
    until = json.loads(shell.says(*words, terminal=terminal))["reserved_until"]
    assert until == pytest.approx(time.time() + 1800, abs=60)
    (lease,) = pool.status().leases
    assert (lease.owner, lease.purpose, lease.note) == ("carol", "reserved", "repair")
    assert "released 1 lease" in shell.says("release", "default", "--owner", "carol", terminal=terminal)
    assert pool.status().free == 1


def test_accounts_are_released_by_owner_in_all_pools_or_by_force(shell):
    one, two = shell.pool(2), shell.pool(1, name="two")
    for pool in (one, one, two):
        pool.acquire_account(owner="gone")
    assert json.loads(shell.says("release", "--owner", "gone", "--json")) == {"released": 3}
    one.acquire_account("a1", owner="other")
    status, output = shell.run("release", "default", "--account", "a1", "--owner", "me")
    assert status == 1
    assert "held by 'other'" in output
    running = shell.start("release", "default", "--account", "a1", "--force", terminal=True)
    wait_for(running, "whoever holds it?")
    running.type(b"y\r")
    assert running.end() == 0
    assert "released 1 lease" in running.output
    wait_until(lambda: one.status().free == 2)


@pytest.mark.parametrize(
    "words",
    [
        "release",
        "release --account a1",
        "release default --account a1",
        "release --owner me --force",
        "release default --account a1 --owner me --force",
        "reserve default a1 --owner me",
        "reserve default a1 --owner me --for soon",
        "reserve default a1 --owner me --until soon",
        "configure default cooldown",
        "configure default nonsense=1",
        "configure default cooldown=soon",
        "configure default cooldown=-1",
    ],
)
def test_wrong_usage_is_status_2_and_changes_nothing(shell, words):
    pool = shell.pool(1)
    status, output = shell.run(*words.split())
    assert status == 2, output
    assert "Traceback" not in output
    assert pool.status().policy in ({}, None)
    assert pool.status().free == 1


def test_the_rules_of_a_pool_are_set_shown_and_lifted(shell):
    pool = shell.pool(1)
    for text in shell.both("configure", "default"):
        assert "has no rules" in text
    assert "30" in shell.says("configure", "default", "cooldown=30", "max-failures=3", "cleanup=true")
    assert pool.status().policy == {"cooldown": 30.0, "max_failures": 3, "cleanup": True}
    holds = json.loads(shell.says("configure", "default", "cleanup=none", "--json", terminal=True))
    assert holds == {"cooldown": 30.0, "max_failures": 3}


# -- routes ----------------------------------------------------------------------------------------------------------


def test_rules_are_added_listed_tried_and_removed(shell):
    shell.says("routes", "add", "lab", "lab-*", "*.lab")
    shell.says("routes", "add", "net", "10.0.0.0/8", "--network", "--json")
    shell.says("routes", "add", "core", "^core-[0-9]+$", "--regex", terminal=True)
    for text in shell.both("routes", "list"):
        assert [line.split()[:2] for line in text.splitlines()[1:]] == [["1", "lab"], ["2", "net"], ["3", "core"]]
        assert "regex ^core-[0-9]+$" in text
    listed = json.loads(shell.says("routes", "list", "--json"))
    assert listed[1] == {"pool": "net", "match": [{"kind": "network", "pattern": "10.0.0.0/8"}]}
    for text in shell.both("routes", "test", "10.1.2.3"):
        assert "served by pool 'net': rule 2 holds: network 10.0.0.0/8" in text
    expected = {"host": "core-7", "pool": "core", "place": 3, "rule": {"kind": "regex", "pattern": "^core-[0-9]+$"}}
    assert json.loads(shell.says("routes", "test", "core-7", "--json")) == expected
    assert "pool 'default': no rule holds" in shell.says("routes", "test", "elsewhere")
    assert "removed 1 rule" in shell.says("routes", "remove", "net", "10.0.0.0/8", "--network")
    assert "removed 1 rule" in shell.says("routes", "remove", "lab", "--yes", terminal=True)
    assert len(json.loads(shell.says("routes", "list", "--json"))) == 1
    status, output = shell.run("routes", "remove", "lab")
    assert status == 2
    assert "no such rule" in output
