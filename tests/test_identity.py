"""Who holds an account, as others see it."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest

from redispool import ConfigError
from redispool.identity import new_token, owner_name
from tests.conftest import shown


def test_a_token_begins_with_something_that_tells_the_host_and_the_process():
    host, pid, random = new_token().rsplit(":", 2)
    assert socket.gethostname().startswith(host[:8])
    assert int(pid) == os.getpid()
    assert len(random) == 16


def test_no_two_tokens_are_alike():
    assert len({new_token() for _ in range(10_000)}) == 10_000


def test_a_token_has_nothing_that_would_break_a_script():
    assert not set(new_token()) & set("\n\t\0 {}")


def test_the_default_owner_is_host_process_and_thread():
    names = []
    thread = threading.Thread(target=lambda: names.append(owner_name(None)))
    thread.start()
    thread.join()
    mine = owner_name(None)
    host, pid, native = mine.rsplit(":", 2)
    assert (int(pid), int(native)) == (os.getpid(), threading.get_native_id())
    assert mine == owner_name(None)
    assert names != [mine]
    assert names[0].startswith(f"{host}:{pid}:")


def test_a_forked_child_has_a_name_of_its_own():
    mine = owner_name(None)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, owner_name(None).encode())
        os._exit(0)
    os.waitpid(child, 0)
    host = mine.rsplit(":", 2)[0]
    assert os.read(reader, 1000).decode() == f"{host}:{child}:{child}"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("owner", ["me", "job 7: ünïcödé", "x" * 1024])
def test_a_string_is_used_as_it_is_on_every_host(owner):
    assert owner_name(owner) == owner


@pytest.mark.parametrize("owner", ["", "a\nb", "a\tb", "\0", "x" * 1025, "a\ud800"])
def test_a_string_that_would_not_do_is_refused(owner):
    with pytest.raises(ConfigError, match="the owner"):
        owner_name(owner)


class Plain:
    pass


class Slotted:
    __slots__ = ()


class Named:
    def __init__(self, name):
        self.name = name

    def __eq__(self, other):
        return self.name == other.name

    def __hash__(self):
        return hash(self.name)


@pytest.mark.parametrize(
    "new", [Plain, Slotted, dict, list, object, lambda: lambda: None], ids=lambda new: new.__name__
)
def test_any_other_object_is_an_owner_of_its_own(new):
    one, other = new(), new()
    assert owner_name(one) == owner_name(one)
    assert owner_name(one) != owner_name(other)


@pytest.mark.parametrize("pair", [(7, 7), ((1, "a"), (1, "a")), (Named("a"), Named("a")), (Plain, Plain)], ids=shown)
def test_equal_objects_are_the_same_owner_as_in_the_heritage(pair):
    assert owner_name(pair[0]) == owner_name(pair[1])


def test_an_object_is_never_mistaken_for_one_that_is_gone():
    names = set()
    for _ in range(200):
        owner = Plain()
        names.add(owner_name(owner))
        del owner
        gc.collect(0)
    assert len(names) == 200


@dataclass
class Job:  # it has no hash, as it is equal by value and can be changed
    number: int


@pytest.mark.parametrize(
    "new", [Job, lambda number: [number], lambda number: (number, [])], ids=["job", "list", "tuple"]
)
def test_an_object_without_a_hash_is_never_mistaken_for_one_that_is_gone(new):
    assert len({owner_name(new(number)) for number in range(50)}) == 50


def test_an_object_of_another_process_is_another_owner():
    program = "from redispool.identity import owner_name; print(owner_name(7))"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert said.strip() != owner_name(7)


def test_the_same_object_has_one_name_in_all_threads():
    owner, names = Plain(), []
    start = threading.Barrier(8)

    def look():
        start.wait()
        names.append(owner_name(owner))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 1
