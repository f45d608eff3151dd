"""One server for all commands: what differs between servers is tested elsewhere."""

from __future__ import annotations

import itertools

import pytest

from redispool import Account, AccountPool
from tests.conftest import wait_until
from tests.servers import Server

from .terminals import Running

_numbers = itertools.count(1)


class Shell:
    """Runs commands on a namespace of its own, and opens its pools."""

    def __init__(self, server):
        self.server = server
        self.namespace = f"cli-{next(_numbers)}"
        self.running = []

    def start(self, *words, **options):
        """Start a command."""
        settings = {"REDISPOOL_URL": self.server.url, "REDISPOOL_NAMESPACE": self.namespace}
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


@pytest.fixture
def shell(cli_server):
    one = Shell(cli_server)
    yield one
    for running in one.running:
        running.stop()


@pytest.fixture
def own_shell(own_server):
    """On a server that the test may kill."""
    one = Shell(own_server())
    yield one
    for running in one.running:
        running.stop()


def wait_for(running, text):
    """Wait until the command has written the text."""
    wait_until(lambda: running.shows(text) or running.process.poll() is not None, 30)
    assert running.shows(text), running.output
