"""Private pools: named by nobody, and removed with their creators."""

from __future__ import annotations

import logging
import os
import secrets
from typing import TYPE_CHECKING

from redispool.drivers import run
from redispool.identity import new_token
from redispool.protocol.keys import PRIVATE_PREFIX
from redispool.protocol.membership import MemberFlows

if TYPE_CHECKING:
    from collections.abc import Callable

    from redispool.drivers import Wire
    from redispool.protocol.channel import PoolChannel

log = logging.getLogger("redispool")


def private_name() -> str:
    """A name for a pool that nobody else knows."""
    return f"{PRIVATE_PREFIX}{new_token()}:{secrets.token_hex(4)}"


def remove_private(open_wire: Callable[[], Wire], channel: PoolChannel, creator: int) -> None:
    """A private pool goes with its creator, and not with a process that was forked from it."""
    if os.getpid() != creator or not channel.contacted:
        return
    channel.patience = 0.0  # who ends does not wait for an outage to end
    try:
        run(MemberFlows(channel).reset(leave_no_trace=True), open_wire())
    except Exception as error:  # noqa: BLE001 - it runs at exit; doctor finds what is left
        log.debug("private pool %s stays behind: %s", channel.keys.pool, error)
