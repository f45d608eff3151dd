"""How whoever takes part tells the judge what happened: datagrams on a socket of his, which outlive their sender."""

from __future__ import annotations

import json
import socket
import time
from typing import Any


class Teller:
    """One sender. All times are CLOCK_MONOTONIC, which is the same for every process of a host.

    Args:
        path: the judge's socket.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(path)

    def tell(self, event: str, **what: Any) -> None:
        """Tell the judge; when this returns, he will know of it, whatever becomes of us."""
        self._socket.send(json.dumps({"event": event, "at": time.monotonic(), **what}).encode())
