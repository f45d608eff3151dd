"""Ask each device of a fleet something over SSH, with Celery workers and the accounts that all of them share.

    export CELERY_BROKER_URL=redis://redis.example.net/0 REDISPOOL_URL=redis://redis.example.net/1
    celery -A celery_fleet worker --concurrency 20                # on as many hosts as you like
    python celery_fleet.py 'show version' sw1 sw2 sw3             # wherever

No account is ever in use twice, so a login server that refuses second logins has none to refuse. A worker may be
killed at any time: its task goes to another one (`acks_late`), with another account, and its own comes back by its TTL.
"""

from __future__ import annotations

import argparse
import os

import paramiko
from celery import Celery, group

from redispool.integrations.celery import AccountTask

BROKER = os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0")
app = Celery("celery_fleet", broker=BROKER, backend=os.environ.get("CELERY_RESULT_BACKEND", BROKER))
app.conf.update(
    redispool_url=os.environ.get("REDISPOOL_URL"),
    redispool_options={"ttl": float(os.environ.get("FLEET_TTL", "60"))},
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(
    base=AccountTask,
    bind=True,
    account_for=lambda args: args[0],  # the rules in Redis say which pool serves which device
    acks_late=True,
    reject_on_worker_lost=True,
    autoretry_for=(paramiko.SSHException, EOFError, OSError),
    default_retry_delay=0.2,
    max_retries=50,
)
def ask(self: AccountTask, host: str, command: str, port: int = 22) -> str:
    client = paramiko.SSHClient()
    client.load_system_host_keys(os.environ.get("FLEET_KNOWN_HOSTS"))
    try:
        client.connect(host, port, timeout=10, **self.account.for_paramiko())
        _, output, _ = client.exec_command(command, timeout=10)
        answer = output.read().decode().strip()
        if output.channel.recv_exit_status() == -1:  # it never came
            raise EOFError("the connection was lost")
        return answer
    finally:
        transport = client.get_transport()
        client.close()
        if transport is not None:
            transport.join(5)  # for it closes the connection, and the account is to be out of use when we give it back


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command")
    parser.add_argument("hosts", nargs="+")
    parser.add_argument("--port", type=int, default=22)
    options = parser.parse_args()
    answers = group(ask.s(host, options.command, options.port) for host in options.hosts)()
    for host, answer in zip(options.hosts, answers.get(), strict=True):
        print(f"{host}: {answer}")


if __name__ == "__main__":
    main()
