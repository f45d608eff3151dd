"""An SSH server in a process of its own that refuses a login to an account in use: the outside judge.

    with SSHServer({"a1": "secret"}, drops=0.1, seed=7) as server:
        ...  # log in at 127.0.0.1, server.port
        assert not server.figures().refusals

The program, `python -m tests.integrations.ssh_server`, reads its settings as a line of JSON from stdin, answers with
its port and its public key, and then each further line with its figures, until stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import asyncssh
import paramiko


@dataclass
class Figures:
    """What the server saw, by account: logins, refusals of an account in use, wrong passwords, dropped connections.

    `in_use` tells the accounts that are logged in now.
    """

    logins: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    in_use: list[str] = field(default_factory=list)


class SSHServer:
    """Starts the server's process and asks it for its figures.

    Args:
        passwords: the password of each account.
        drops: the share of connections that are dropped: half of them while logging in, half when a command comes.
        seed: of the dice for that.
        seconds: how long a command takes.
    """

    def __init__(self, passwords, *, drops=0.0, seed=0, seconds=0.0):
        self.settings = {"passwords": dict(passwords), "drops": drops, "seed": seed, "seconds": seconds}

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port, key = self._ask(self.settings)
        self.known_host = f"[127.0.0.1]:{self.port} {key}"  # a line of a file of known hosts
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def figures(self) -> Figures:
        counts = self._ask("figures")
        in_use = counts.pop("in_use")
        return Figures(**{name: Counter(count) for name, count in counts.items()}, in_use=in_use)

    def _ask(self, question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def logged_in(port, account):
    """A connection of paramiko's at 127.0.0.1, which is closed for the server as well when the block ends."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    try:
        client.connect(
            "127.0.0.1", port, account.name, account.password, allow_agent=False, look_for_keys=False, timeout=10
        )
        yield client
    finally:
        transport = client.get_transport()
        client.close()
        if transport is not None:
            transport.join()  # while its thread still polls the socket, the server learns nothing of the end


def output_of(client, command):
    return client.exec_command(command, timeout=10)[1].read().decode().strip()


class _Judge:
    def __init__(self, passwords, drops, seed, seconds):
        self.passwords, self.drops, self.seconds = passwords, drops, seconds
        self.dice = random.Random(seed)
        self.figures = Figures()
        self.in_use = set()

    def fate(self):
        """When to drop a connection: at 'login', at a 'command', or never."""
        if self.dice.random() >= self.drops:
            return None
        return self.dice.choice(["login", "command"])

    async def command(self, process):
        connection = process.channel.get_connection()
        session = connection.get_owner()
        if session.fate == "command":
            session.drop()
            return
        await asyncio.sleep(self.seconds)
        with suppress(asyncssh.Error, ConnectionError):  # the client may have been killed meanwhile
            process.stdout.write(f"{session.account}: {process.command}\n")
            process.exit(0)


class _Session(asyncssh.SSHServer):
    def __init__(self, judge):
        self.judge = judge
        self.account = None
        self.fate = judge.fate()

    def connection_made(self, connection):
        self.connection = connection

    def connection_lost(self, _error):
        self.let_go()

    def let_go(self):
        if self.account is not None:
            self.judge.in_use.discard(self.account)
            self.account = None

    def drop(self):
        self.judge.figures.dropped[self.account] += 1
        self.let_go()
        self.connection.abort()

    def begin_auth(self, name):
        if name in self.judge.in_use:
            self.judge.figures.refusals[name] += 1
            raise asyncssh.PermissionDenied(f"account {name} is in use")
        self.account = name
        self.judge.in_use.add(name)
        return True

    def auth_completed(self):
        self.judge.figures.logins[self.account] += 1

    def password_auth_supported(self):
        return True

    def validate_password(self, name, password):
        if self.fate == "login":
            self.drop()
            return False
        right = self.judge.passwords.get(name) == password
        self.judge.figures.wrong[name] += not right
        return right


async def serve():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    judge = _Judge(**json.loads(await lines.readline()))
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=lambda: _Session(judge),
        process_factory=judge.command,
        server_host_keys=[key],
    )
    public = key.export_public_key().decode().strip()
    print(json.dumps([server.get_port(), public]), flush=True)
    while await lines.readline():
        judge.figures.in_use = sorted(judge.in_use)
        print(json.dumps(vars(judge.figures)), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
