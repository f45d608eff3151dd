"""Network devices to log in to by SSH, with one login service that refuses an account in use: the outside judge."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from contextlib import suppress

import asyncssh

from tests.servers import free_port


class Devices:
    """Devices at 127.0.0.1, 127.0.0.2, ..., on one port, in a thread; each has a prompt and `enable`.

    `logins` counts the logins of each account and `refusals` those that came while it was in use: for the whole
    session, or with `login_only` just while logging in, which takes `seconds`. `wrong` counts failed ones. `by_device`
    counts the logins at each address. The share `drops` of the connections is dropped, half of them while logging in,
    half when a command comes; `dropped` counts them.
    """

    def __init__(self, passwords, *, number=1, login_only=False, seconds=0.0, keys=(), enable="", drops=0.0):
        self.drops, self.dice, self.dropped = drops, random.Random(11), Counter()
        self.passwords, self.login_only, self.seconds, self.enable = dict(passwords), login_only, seconds, enable
        self.keys = {name: asyncssh.import_authorized_keys(public) for name, public in dict(keys).items()}
        self.logins, self.refusals, self.wrong, self.by_device = Counter(), Counter(), Counter(), Counter()
        self.in_use = set()
        self.port = free_port()
        self.addresses = [f"127.0.0.{last}" for last in range(1, number + 1)]
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.listen(), self.loop).result(10)
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self.close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    async def listen(self):
        self.server = await asyncssh.listen(
            self.addresses,
            self.port,
            server_factory=lambda: Connection(self),
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            process_factory=self.converse,
            line_editor=False,
        )

    async def close(self):
        self.server.close()
        await self.server.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def converse(self, process):
        """A shell: it echoes, answers with what it was told, and knows enable and exit."""
        sign = ">"
        with suppress(asyncssh.Error, ConnectionError, EOFError):
            while True:
                process.stdout.write(f"device{sign}")
                line = await self.line(process)
                if (
                    line
                    and line.startswith("show ")
                    and process.channel.get_connection().get_owner().drops_at("command")
                ):
                    return
                if line is None or line == "exit":
                    break
                if line == "enable":
                    process.stdout.write("Password: ")
                    sign = "#" if await self.line(process, echo=False) == self.enable else ">"
                elif line:
                    process.stdout.write(f"done: {line}\r\n")
        process.exit(0)

    async def line(self, process, *, echo=True):
        text = ""
        while (one := await process.stdin.read(1)) not in {"\n", "\r"}:
            if not one:
                return None
            text += one
            if echo:
                process.stdout.write(one)
        process.stdout.write("\r\n")
        return text.strip()


class Connection(asyncssh.SSHServer):
    def __init__(self, devices):
        self.devices = devices
        self.account = None
        self.fate = devices.dice.choice(["login", "command"]) if devices.dice.random() < devices.drops else None

    def drops_at(self, instant):
        """Whether the connection is dropped at this instant, and if so, that it is."""
        if self.fate == instant:
            self.devices.dropped[self.account] += 1
            self.let_go()
            self.connection.abort()
        return self.fate == instant

    def connection_made(self, connection):
        self.connection = connection

    def connection_lost(self, _error):
        self.let_go()

    def let_go(self):
        if self.account is not None:
            self.devices.in_use.discard(self.account)
            self.account = None

    def begin_auth(self, name):
        if name in self.devices.in_use:
            self.devices.refusals[name] += 1
            raise asyncssh.PermissionDenied(f"account {name} is in use")
        self.account = name
        self.devices.in_use.add(name)
        return True

    def auth_completed(self):
        self.devices.logins[self.account] += 1
        self.devices.by_device[self.connection.get_extra_info("sockname")[0]] += 1
        if self.devices.login_only:
            self.let_go()

    def password_auth_supported(self):
        return True

    async def validate_password(self, name, password):
        await asyncio.sleep(self.devices.seconds)
        if self.drops_at("login"):
            return False
        right = self.devices.passwords.get(name) == password
        self.devices.wrong[name] += not right
        return right

    def public_key_auth_supported(self):
        return bool(self.devices.keys)

    def validate_public_key(self, name, key):
        known = self.devices.keys.get(name)
        return known is not None and known.validate(key, "", "", False) is not None
