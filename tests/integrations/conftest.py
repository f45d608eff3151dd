from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One kind of server is enough here: the integrations see none of it."""
    running = Server("valkey")
    yield running
    running.remove()
