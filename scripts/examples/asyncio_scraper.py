"""Fetch pages of a site that limits how often an account may ask, with the accounts that all hosts share.

REDISPOOL_URL=redis://redis.example.net python asyncio_scraper.py https://example.net/1 https://example.net/2

Each account has one request at a time, on whichever host. One that is told 429 rests for as long as the site says, for
all hosts, and the page is asked for again with the next.
"""

from __future__ import annotations

import asyncio
import sys

import httpx

from redispool.asyncio import AccountPool
from redispool.integrations.httpx import AccountAuth

TRIES = 5


async def fetch(client: httpx.AsyncClient, url: str) -> httpx.Response:
    for _ in range(TRIES):
        response = await client.get(url)
        if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
            break
    return response


async def main(urls: list[str]) -> None:
    async with AccountPool(name="scrapers") as pool, httpx.AsyncClient(auth=AccountAuth(pool)) as client:
        for page in asyncio.as_completed([fetch(client, url) for url in urls]):
            response = await page
            print(response.status_code, response.url, len(response.content))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
