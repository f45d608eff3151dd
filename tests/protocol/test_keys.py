"""The names of the keys, and that the table of them is true."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from redispool.protocol import keys, scripts
from redispool.protocol.keys import PoolKeys, pools_key, routes_key

LUA = resources.files("redispool.protocol") / "lua"
FILES = sorted([*LUA.glob("*.lua"), *(LUA / "shared").glob("*.lua")], key=lambda path: path.name)
NAMING = ("settings.lua", "line.lua", "names.lua")
OPEN = "".join((LUA / "shared" / name).read_text("utf-8") for name in NAMING)
SCRIPTS = [script for script in vars(scripts).values() if isinstance(script, scripts.Script)]


def table() -> set[str]:
    """The names in the table of `keys.py`, as the scripts write them: 'meta', 'lock:', ..."""
    cells = [line.split("|")[1] for line in keys.__doc__.splitlines() if line.startswith("| `")]
    names = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    return {re.sub(r"[A-Z]+$", "", name.removeprefix("NS:{POOL}:").removeprefix(":")) for name in names}


def test_all_keys_of_a_pool_share_its_hash_tag():
    pool = PoolKeys("ns", "lab: 1")
    assert pool.meta == "ns:{lab: 1}:meta"
    assert pool.mailbox("b") == "ns:{lab: 1}:mail:b"
    assert (pools_key("ns"), routes_key("ns")) == ("ns:pools", "ns:routes")


def test_every_key_that_the_scripts_name_is_in_the_table():
    named = set(re.findall(r"POOL \.\. '([^']+)'", OPEN)) | {"meta"}
    assert len(named) > 10
    assert named - table() == set()


def test_only_some_files_make_names_of_keys_and_the_others_use_them():
    constants = set(re.findall(r"\b[A-Z]{4,}\b", OPEN)) - {"KEYS", "ARGV", "TYPE", "HGET", "TIME"}
    local = re.compile(r"local ([A-Z]{4,})\b")
    for path in FILES:
        text = path.read_text("utf-8")
        for first in re.findall(r"\bcall\('[A-Z]+', ([^,)]+)", text):
            word = re.match(r"[A-Za-z_.]+", first)
            assert word is not None, f"{path.name} spells out a key: {first}"
            if word[0].isupper() and word[0] != "KEYS":
                assert word[0] in constants | set(local.findall(text)), f"{path.name} uses {first}"
    for path in FILES:
        if path.name not in NAMING:
            assert "POOL .. '" not in path.read_text("utf-8"), f"{path.name} makes names of its own"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_script_begins_with_what_it_guarantees(path):
    first, second, *_ = path.read_text("utf-8").splitlines()
    assert first.startswith("-- Guarantees: ")
    assert second.startswith("--")


@pytest.mark.parametrize("path", sorted(LUA.glob("*.lua")), ids=lambda path: path.name)
def test_every_script_says_what_it_returns(path):
    header = [line for line in path.read_text("utf-8").splitlines()[:6] if line.startswith("--")]
    assert any("Returns " in line for line in header)
    assert any("ARGV[3" in line or "ARGV[1]" in line for line in header), "and what its arguments are"


def test_there_is_a_script_for_every_file_and_none_without():
    assert sorted(f"{script.name}.lua" for script in SCRIPTS) == sorted(path.name for path in LUA.glob("*.lua"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_each_included_file_stands_in_a_script_once(script):
    assert "--@include" not in script.text
    for path in (LUA / "shared").glob("*.lua"):
        first_line = path.read_text("utf-8").splitlines()[0]
        assert script.text.count(first_line) <= 1
    names = re.findall(r"^local function (\w+)", script.text, re.MULTILINE)
    assert len(names) == len(set(names)), "a function is defined twice"


def test_names_of_scripts_are_what_the_server_calls_them(client):
    for script in SCRIPTS:
        assert client.script_load(script.text) == script.sha


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_script_looks_at_a_whole_keyspace_or_another_servers_clock(path):
    text = path.read_text("utf-8")
    for forbidden in ("'KEYS'", "'SCAN'", "'HGETALL'", "'SMEMBERS'", "os.time", "os.clock"):
        if (path.name, forbidden) != ("audit.lua", "'HGETALL'"):  # an operator's look, at what it has found to be short
            assert forbidden not in text
