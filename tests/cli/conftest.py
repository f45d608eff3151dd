"""One server for all commands: what differs between servers is tested elsewhere."""

from __future__ import annotations

import itertools
import re

import pytest

from redispool import Account, AccountPool
from tests.conftest import wait_until
from tests.servers import Server

from .nursery import Nursery
from .terminals import Running

_numbers = itertools.count(1)


class Shell:
    """Runs commands on a namespace of its own, and opens its pools."""

    def __init__(self, server, nursery):
        self.server = server
        self.nursery = nursery
        self.namespace = f"cli-{next(_numbers)}"
        self.running = []

    def start(self, *words, **options):
        """Start a command."""
        settings = {"REDISPOOL_URL": self.server.url, "REDISPOOL_NAMESPACE": self.namespace}
        if "command" not in options:
            settings["nursery"] = self.nursery
        self.running.append(Running(*words, **{**settings, **options}))
        return self.running[-1]

    def run(self, *words, **options):
        """The exit status and the output of a command."""
        running = self.start(*words, **options)
        return running.end(), running.output

    def says(self, *words, **options):
        """The output of a command that must succeed."""
        status, output = self.run(*words, **options)
        assert status == 0, output
        return output

    def both(self, *words, **options):
        """The output of a command that must succeed, in a pipe and on a terminal."""
        started = [self.start(*words, terminal=terminal, **options) for terminal in (False, True)]
        for running in started:
            assert running.end() == 0, running.output
        piped, shown = (running.output.replace("\r\n", "\n") for running in started)
        assert "\x1b" not in piped
        assert " " * 200 not in piped, "a table has been filled up to the width of a pipe"
        assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()), default=0) <= 80
        return piped, shown

    def client_knows(self, pool):
        """Whether there is anything of a pool on the server."""
        with self.server.client() as client:
            return bool(client.keys(f"{self.namespace}:{{{pool}}}:*")) or bool(client.exists(f"{self.namespace}:pools"))

    def pool(self, accounts=0, name="default", **options):
        """Opens a pool, with so many accounts 'a1', 'a2', ... or with the accounts given."""
        if isinstance(accounts, int):
            accounts = [Account(f"a{number}", f"secret-{number}") for number in range(1, accounts + 1)]
        return AccountPool(accounts, name=name, redis=self.server.url, namespace=self.namespace, **options)


@pytest.fixture(scope="session")
def cli_server():
    running = Server("valkey")
    yield running
    running.remove()


@pytest.fixture(scope="session")
def nursery():
    one = Nursery()
    yield one
    one.close()


@pytest.fixture
def shell(cli_server, nursery):
    one = Shell(cli_server, nursery)
    yield one
    for running in one.running:
        running.stop()


@pytest.fixture
def own_shell(own_server, nursery):
    """On a server that the test may kill."""
    one = Shell(own_server(), nursery)
    yield one
    for running in one.running:
        running.stop()


def wait_for(running, text):
    """Wait until the command has written the text."""
    wait_until(lambda: running.shows(text) or running.process.poll() is not None, 30)
    assert running.shows(text), running.output
