"""A worker that asks devices by netmiko or Nornir, job after job, until it is told to end.

    python -m tests.integrations.crew REDIS NAMESPACE netmiko|nornir PORT

A job is the address of a device and a command, in a list in Redis. It is in a list of this process while it is done,
from where it is put back if this process is killed; one that failed is put back at once.
"""

from __future__ import annotations

import logging
import os
import sys

import redis
from netmiko import NetmikoBaseException
from nornir.core import Nornir
from nornir.core.inventory import ConnectionOptions, Defaults, Groups, Host, Hosts, Inventory
from nornir.core.plugins.connections import ConnectionPluginRegister
from nornir.plugins.runners import ThreadedRunner
from nornir_netmiko.tasks import netmiko_send_command
from paramiko import SSHException

from redispool import AccountManager
from redispool.integrations.network import connect_netmiko
from redispool.integrations.nornir import LeasingRunner

TTL = 1.0  # seconds
OPTIONS = {"read_timeout_override": 1}  # netmiko sees only then that a connection was dropped
AT_ONCE = 4  # hosts of one run of Nornir's


def ask_by_netmiko(manager, port, jobs):
    (job,) = jobs
    address, _, command = job.partition(" ")
    try:
        with connect_netmiko(manager, address, device_type="cisco_ios", port=port, **OPTIONS) as connection:
            return {job: connection.send_command(command)}
    except (NetmikoBaseException, SSHException, EOFError, OSError):
        return {}


def ask_by_nornir(manager, port, jobs):
    options = {"netmiko": ConnectionOptions(extras=OPTIONS)}
    hosts = Hosts(
        {job: Host(job, job.partition(" ")[0], port, platform="cisco_ios", connection_options=options) for job in jobs}
    )
    nornir = Nornir(Inventory(hosts, Groups(), Defaults()), runner=LeasingRunner(manager, ThreadedRunner(AT_ONCE)))

    def show(task):
        return task.run(netmiko_send_command, command_string=task.host.name.partition(" ")[2]).result

    return {job: result[0].result for job, result in nornir.run(show).items() if not result.failed}


def main(url, namespace, kind, port):
    book = redis.Redis.from_url(url, decode_responses=True)
    manager = AccountManager(redis=url, namespace=namespace, ttl=TTL)
    ask, at_once = (ask_by_netmiko, 1) if kind == "netmiko" else (ask_by_nornir, AT_ONCE)
    ConnectionPluginRegister.auto_register()
    logging.disable(logging.ERROR)  # Nornir tells of each connection that was dropped
    todo, done, mine = (f"{namespace}:{name}" for name in ("todo", "done", f"doing:{os.getpid()}"))
    while True:
        jobs = [job for _ in range(at_once) if (job := book.lmove(todo, mine, "LEFT", "RIGHT"))]
        if not jobs:
            first = book.blmove(todo, mine, 1, "LEFT", "RIGHT")
            jobs = [first] if first else []
        answers = ask(manager, int(port), jobs) if jobs else {}
        with book.pipeline() as together:
            together.delete(mine)
            for job in jobs:
                if job in answers:
                    together.hset(done, job, answers[job])
                else:
                    together.rpush(todo, job)
            together.execute()


if __name__ == "__main__":
    main(*sys.argv[1:])
