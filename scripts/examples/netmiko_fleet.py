"""Ask each device of a fleet something, by netmiko, with the accounts that all hosts share.

REDISPOOL_URL=redis://redis.example.net python netmiko_fleet.py --device-type cisco_ios 'show version' sw1 sw2 sw3

Run it on as many hosts as you like: no account is ever in use twice, so a login server that refuses second logins has
none to refuse. The rules in Redis (`AccountManager.add_pool('lab', 'lab-*')`) say which pool serves which device.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor

from redispool import AccountManager
from redispool.integrations.network import connect_netmiko


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command")
    parser.add_argument("hosts", nargs="+")
    parser.add_argument("--device-type", default="cisco_ios")
    parser.add_argument("--port", type=int, default=22)
    parser.add_argument("--login-only", action="store_true", help="hold an account only while logging in")
    options = parser.parse_args()
    manager = AccountManager()

    def ask(host: str) -> str:
        with connect_netmiko(
            manager, host, login_only=options.login_only, device_type=options.device_type, port=options.port
        ) as connection:
            return connection.send_command(options.command)

    with ThreadPoolExecutor(20) as crew:  # more than there are accounts: the others wait in line
        for host, answer in zip(options.hosts, crew.map(ask, options.hosts), strict=True):
            print(f"{host}: {answer}")


if __name__ == "__main__":
    main()
