"""A program with an `Exscript.Queue` of its own: logs in to the judge so many times.

    python -m tests.integrations.exscript.queue_program REDIS NAMESPACE MODE PORT LOGINS [ATTEMPTS | hang]

With `hang`, it takes an account for each and keeps it for ever, without any login.
"""

from __future__ import annotations

import sys
import threading

import Exscript.protocols.telnet
import Exscript.queue
from Exscript import Host, Queue
from Exscript.util.decorator import autologin

from redispool import AccountManager
from redispool.integrations.exscript import install


def be_a_terminal(replace=setattr):
    """Without one, Exscript starts `stty` again and again, which stalls while a job is being forked beside it."""
    for module in (Exscript.queue, Exscript.protocols.telnet):
        replace(module, "get_terminal_size", lambda: (25, 80))


def judged_host(name, port):
    host = Host(f"telnet://{name}")
    host.set_address("127.0.0.1")
    host.set_tcp_port(port)
    return host


@autologin()
def log_in(job, host, conn):
    conn.send("exit\r")


def hang(job, host, conn):
    conn.account_factory(None)
    print("held", flush=True)
    threading.Event().wait()


def main(redis, namespace, mode, port, logins, ending=""):
    be_a_terminal()
    queue = Queue(mode=mode, verbose=-1, max_threads=4)
    install(queue, AccountManager(redis=redis, namespace=namespace, ttl=1.0))
    if ending == "hang":
        queue.run([f"dummy://r{number}" for number in range(int(logins))], hang)
    else:
        hosts = [judged_host(f"r{number}", int(port)) for number in range(int(logins))]
        queue.run(hosts, log_in, attempts=int(ending or 1))
    queue.join()
    queue.destroy()
    print(f"failed {queue.failed}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
