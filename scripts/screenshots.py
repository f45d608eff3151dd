"""Makes the README's pictures, docs/web.png and docs/top.svg, of a fleet at work: `python scripts/screenshots.py`.

It needs redispool[test] and chromium, and runs a server, twenty-five workers and `redispool web` for some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright
from rich.console import Console

from redispool import Account, AccountPool, AcquireTimeout
from redispool.cli.site import Site
from redispool.cli.top.screen import View, picture
from redispool.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

DOCS = Path(__file__).parent.parent / "docs"
FLEET = {  # pool: accounts, their names, workers, seconds that each uses an account at least and at most
    "licence": (3, "seat", 5, 3, 15),
    "scrapers": (8, "crawler", 7, 1, 4),
    "switches": (6, "tacacs", 13, 0.5, 6),
}
LOOKS = 40  # of top, one a second
VIEWPORT = {"width": 1280, "height": 960}


def work(pool: AccountPool, number: int, least: float, most: float, over: threading.Event) -> None:
    chance = random.Random(number)
    while not over.is_set():
        with contextlib.suppress(AcquireTimeout), pool.lease(owner=f"worker {number}", timeout=8):
            over.wait(chance.uniform(least, most))
        over.wait(chance.expovariate(1.5))


def start_fleet(url: str, over: threading.Event) -> list[threading.Thread]:
    """The workers' threads."""
    threads = []
    for name, (accounts, prefix, workers, least, most) in FLEET.items():
        made = [Account(f"{prefix}-{number}", "secret") for number in range(1, accounts + 1)]
        pool = AccountPool(made, name=name, redis=url, ttl=20)
        if name == "scrapers":
            pool.quarantine("crawler-8", "banned by the site since Monday")
        if name == "switches":
            pool.reserve("tacacs-6", "carol", until=time.time() + 3600, note="debugging lab-sw-17")
        threads += [
            threading.Thread(target=work, args=(pool, number, least, most, over)) for number in range(1, workers + 1)
        ]
    for thread in threads:
        thread.start()
    return threads


def picture_top(url: str) -> None:
    watch = Watch(Site.at(url, "redispool"))
    for _ in range(LOOKS):
        watch.look()
        time.sleep(1)
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(picture(watch, View("redispool"), 32))
    svg = console.export_svg(title="redispool top")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # theirs would come from elsewhere
    (DOCS / "top.svg").write_text(svg, "utf-8")


@contextlib.contextmanager
def open_page(url: str) -> Iterator[Page]:
    """The page of `redispool web` in a browser."""
    command = [sys.executable, "-m", "redispool", "web", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "REDISPOOL_URL": url}) as web:
        address = re.search(r"http://\S+", web.stdout.readline())[0]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page(viewport=VIEWPORT)
            page.goto(address)
            page.locator("input[value='300']").check()
            page.wait_for_selector("#leases tbody th")
            yield page
            browser.close()
        web.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long the fleet works")
    seconds = parser.parse_args().seconds
    DOCS.mkdir(exist_ok=True)
    over = threading.Event()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        url = f"embedded://{directory}"
        threads = start_fleet(url, over)
        try:
            with open_page(url) as page:
                page.wait_for_timeout(1000 * max(seconds - LOOKS, 0))
                picture_top(url)
                page.screenshot(path=DOCS / "web.png")
        finally:
            over.set()
            for thread in threads:
                thread.join()


if __name__ == "__main__":
    main()
