"""Requests with leased accounts, by httpx, to a real server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from redispool import Account, AccountManager, AcquireTimeout, ConfigError, LeaseLost
from redispool import asyncio as awaited
from tests.conftest import wait_until

from .http_server import HttpServer

httpx = pytest.importorskip("httpx")
from redispool.integrations.httpx import AccountAuth, bearer, digest, retry_after  # noqa: E402 - it needs httpx

knows_bad_accounts = pytest.mark.skipif(
    not hasattr(Account, "mark_bad"), reason="accounts cannot be marked bad yet: issue 5"
)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def site():
    with HttpServer({f"a{number}": f"secret-{number}" for number in range(1, 6)}) as running:
        yield running


class Browser:
    """Both of httpx's clients, to be used alike: each with the pool of its kind."""

    def __init__(self, asynchronous, pool, site, **options):
        self.runner = asyncio.Runner() if asynchronous else None
        if asynchronous:
            pool = awaited.AccountPool(name=pool.name, redis=options.pop("redis"))
        options.pop("redis", None)
        self.auth = AccountAuth(pool, **{"account_timeout": 5, **options})
        self.client = (httpx.AsyncClient if asynchronous else httpx.Client)(
            auth=self.auth, base_url=site.url, verify=False
        )
        self.pool = pool

    def do(self, result):
        return result if self.runner is None else self.runner.run(self._awaited(result))

    @staticmethod
    async def _awaited(result):
        return await result

    def get(self, path):
        return self.do(self.client.get(path))

    @contextlib.contextmanager
    def streamed(self, path):
        """A response whose body is still to be read."""
        response = self.do(self.client.send(self.client.build_request("GET", path), stream=True))
        try:
            yield response
        finally:
            self.do(response.close() if self.runner is None else response.aclose())

    def end_session(self):
        self.do(self.auth.close() if self.runner is None else self.auth.aclose())

    def close(self):
        self.end_session()
        self.do(self.client.close() if self.runner is None else self.client.aclose())
        if self.runner is not None:
            self.runner.run(self.pool.aclose())
            self.runner.close()


@pytest.fixture(params=[False, True], ids=["Client", "AsyncClient"])
def browse(request, site, server):
    """Opens a browser of each kind on a pool."""
    opened = []

    def open_browser(pool, **options):
        opened.append(Browser(request.param, pool, site, redis=server.url, **options))
        return opened[-1]

    yield open_browser
    for browser in opened:
        browser.close()


def test_each_request_has_the_next_account(make_pool, site, browse):
    pool = make_pool(3)
    browser = browse(pool)
    assert [browser.get("/").status_code for _ in range(6)] == [200] * 6
    assert site.seen == {"a1": 2, "a2": 2, "a3": 2}
    assert pool.status().free == 3


def test_an_account_is_held_until_the_body_has_been_read(make_pool, site, browse):
    pool = make_pool(1)
    browser = browse(pool, account_timeout=0)
    with browser.streamed("/slow") as response:
        assert response.status_code == 200
        assert pool.status().held == 1
        with pytest.raises(AcquireTimeout):
            browser.get("/")
        site.go_on.set()
    assert pool.status().free == 1
    assert browser.get("/").status_code == 200
    assert not site.refusals


def test_a_request_that_reaches_no_server_gives_its_account_back(make_pool, browse):
    pool = make_pool(1)
    with pytest.raises(httpx.ConnectError):
        browse(pool).get("http://127.0.0.1:1/")
    assert pool.status().free == 1


def test_threads_never_share_an_account(make_pool, site):
    pool = make_pool(5)
    with httpx.Client(auth=AccountAuth(pool), base_url=site.url) as client, ThreadPoolExecutor(10) as crew:
        assert {response.status_code for response in crew.map(lambda _: client.get("/"), range(100))} == {200}
    assert not site.refusals
    assert sum(site.seen.values()) == 100


def test_tasks_never_share_an_account(make_pool, site, server):
    async def browse_all(pool):
        async with httpx.AsyncClient(auth=AccountAuth(pool), base_url=site.url) as client:
            return {response.status_code for response in await asyncio.gather(*[client.get("/") for _ in range(100)])}

    async def main():
        async with awaited.AccountPool(name=make_pool(5).name, redis=server.url) as pool:
            return await browse_all(pool)

    assert asyncio.run(main()) == {200}
    assert not site.refusals
    assert sum(site.seen.values()) == 100


def test_a_cancelled_request_gives_its_account_back(make_pool, site, server):
    pool = make_pool(1)

    async def main():
        mine = awaited.AccountPool(name=pool.name, redis=server.url)
        async with mine, httpx.AsyncClient(auth=AccountAuth(mine), base_url=site.url) as client:
            request = asyncio.create_task(client.get("/slow"))
            await asyncio.to_thread(wait_until, lambda: site.in_progress)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request

    asyncio.run(main())
    site.go_on.set()
    assert pool.status().free == 1


def test_a_session_goes_on_with_one_account(make_pool, site, browse):
    pool = make_pool(3)
    browser = browse(pool, per="session")
    for _ in range(3):
        browser.get("/")
    assert site.seen == {"a1": 3}
    assert [lease.account for lease in pool.status().leases] == ["a1"]
    browser.end_session()
    assert pool.status().free == 3


def test_a_session_that_ends_with_a_response_open_ends_with_that(make_pool, site, browse):
    pool = make_pool(1)
    browser = browse(pool, per="session")
    site.go_on.set()
    with browser.streamed("/slow"):
        browser.end_session()
        assert pool.status().held == 1
    assert pool.status().free == 1


def test_an_account_that_asked_too_often_rests_as_long_as_the_server_says(make_pool, site, browse):
    pool = make_pool(2)
    browser = browse(pool)
    site.limited, site.limits = {"a1"}, {"Retry-After": "1"}
    assert browser.get("/limited").status_code == 429
    assert pool.status().cooling == 1
    assert [browser.get("/limited").status_code for _ in range(2)] == [200, 200]
    assert site.seen == {"a1": 1, "a2": 2}
    site.limited.clear()
    wait_until(lambda: browser.get("/limited").status_code == 200 and site.seen["a1"] == 2)


def test_a_session_leaves_an_account_that_must_rest(make_pool, site, browse):
    pool = make_pool(2)
    browser = browse(pool, per="session")
    site.limited, site.limits = {"a1"}, {"Retry-After": "100"}
    assert [browser.get("/limited").status_code for _ in range(3)] == [429, 200, 200]
    assert site.seen == {"a1": 1, "a2": 2}
    assert pool.status().cooling == 1


@knows_bad_accounts
@pytest.mark.parametrize("status", [401, 403])
def test_an_account_that_is_refused_is_marked_bad(make_pool, site, browse, status):
    pool = make_pool(2, max_failures=1)
    browser = browse(pool)
    assert browser.get(f"/status/{status}").status_code == status
    assert pool.status().quarantined == 1
    assert [browser.get("/").status_code for _ in range(2)] == [200, 200]
    assert site.seen == {"a1": 1, "a2": 2}


@knows_bad_accounts
def test_a_session_leaves_an_account_that_is_refused(make_pool, site, browse):
    pool = make_pool(2, max_failures=1)
    browser = browse(pool, per="session")
    assert [browser.get(path).status_code for path in ("/", "/status/401", "/", "/")] == [200, 401, 200, 200]
    assert site.seen == {"a1": 2, "a2": 2}
    assert pool.status().quarantined == 1


@knows_bad_accounts
def test_which_statuses_mark_an_account_bad_is_the_callers(make_pool, browse):
    pool = make_pool(2, max_failures=1)
    browse(pool, bad_statuses=[418]).get("/status/403")
    assert pool.status().quarantined == 0
    browse(pool, bad_statuses=[418]).get("/status/418")
    assert pool.status().quarantined == 1


@knows_bad_accounts
@pytest.mark.parametrize("per", ["request", "session"])
def test_only_refusals_in_a_row_count(make_pool, browse, per):
    pool = make_pool(1, max_failures=2)
    browser = browse(pool, per=per)
    for path in ("/status/401", "/", "/status/401", "/", "/status/401", "/status/500", "/"):
        browser.get(path)
    browser.get("/status/401")
    assert pool.status().quarantined == 0
    browser.get("/status/401")
    assert pool.status().quarantined == 1


@knows_bad_accounts
def test_a_good_account_that_was_redirected_to_another_port_is_not_marked_bad(make_pool, site, server):
    pool = make_pool(1, max_failures=1)
    with HttpServer({}) as other:
        site.elsewhere = other.url  # where httpx sends no credentials
        with httpx.Client(auth=AccountAuth(pool), base_url=site.url, follow_redirects=True) as client:
            assert client.get("/elsewhere").status_code == 401
    assert pool.status().quarantined == 0


def test_the_pools_own_rest_holds_after_a_request(make_pool, browse):
    pool = make_pool(2, cooldown=100)
    assert browse(pool).get("/").status_code == 200
    assert pool.status().cooling == 1


def test_an_account_that_was_removed_meanwhile_spoils_no_request(make_pool, site, browse):
    pool = make_pool(2)
    browser = browse(pool)
    for status in (200, 401):
        with browser.streamed(f"/status/{status}"):
            pool.remove_account([lease.account for lease in pool.status().leases])
    assert len(pool) == 0


def take_away(pool, browser):
    """Take the session's account by force, and have its keeper notice."""
    pool.release("a1", force=True)
    with pytest.raises(LeaseLost):
        browser.do(browser.auth._shared[""].account.lease.renew())


def test_a_session_goes_on_with_another_account_when_its_own_is_taken_away(make_pool, site, browse):
    pool = make_pool(2)
    browser = browse(pool, per="session")
    browser.get("/")
    take_away(pool, browser)
    other = pool.acquire_account("a1", timeout=5)
    assert browser.get("/").status_code == 200
    assert site.seen == {"a1": 1, "a2": 1}
    other.release()
    browser.end_session()
    assert pool.status().free == 2


def test_who_uses_the_sessions_account_while_it_is_taken_away_is_told(make_pool, site, browse):
    pool = make_pool(2)
    browser = browse(pool, per="session")
    with pytest.raises(LeaseLost), browser.streamed("/slow"):  # noqa: PT012 - the end of the block raises
        take_away(pool, browser)
        site.go_on.set()
    assert browser.get("/").status_code == 200
    assert site.seen == {"a1": 1, "a2": 1}


@pytest.mark.parametrize(
    ("limits", "options", "status"),
    [
        ({}, {"cooldown": 0}, "free"),
        ({}, {"cooldown": 100}, "cooling"),
        ({"Retry-After": "0"}, {"cooldown": 100}, "free"),
        ({"Retry-After": "99999999999999999999"}, {"max_cooldown": 0}, "free"),
        ({"Retry-After": "99999999999999999999"}, {}, "cooling"),
        ({"Retry-After": "soon"}, {"cooldown": 0}, "free"),
    ],
)
def test_a_rest_has_its_default_and_its_bound(make_pool, site, browse, limits, options, status):
    pool = make_pool(1)
    site.limited, site.limits = {"a1"}, limits
    browse(pool, **options).get("/limited")
    assert getattr(pool.status(), status) == 1


def test_retry_after_is_a_number_of_seconds_or_a_date_by_the_servers_clock():
    then = datetime(2031, 5, 1, 12, tzinfo=UTC)
    date, later = format_datetime(then, usegmt=True), format_datetime(then + timedelta(seconds=90), usegmt=True)
    assert retry_after(httpx.Response(429, headers={"Retry-After": "120"})) == 120
    assert retry_after(httpx.Response(429, headers={"Retry-After": later, "Date": date})) == 90
    assert retry_after(httpx.Response(429, headers={"Retry-After": date, "Date": later})) == 0
    assert retry_after(httpx.Response(429, headers={"Retry-After": date})) > 0
    for text in ("", "soon", "-5", "1.5", "Thu, 99 Foo 2031"):
        assert retry_after(httpx.Response(429, headers={"Retry-After": text})) is None
    assert retry_after(httpx.Response(429)) is None


def test_other_schemes_take_the_credentials_too(make_pool, site, browse):
    browser = browse(make_pool(1), scheme=bearer)
    assert browser.get("/").text == "Bearer secret-1"
    assert browse(make_pool(1), scheme=digest, bad_statuses=()).get("/").status_code == 401  # the site knows no digest


def test_a_manager_chooses_the_pool_by_the_host_of_the_url(make_manager, make_pool, site):
    manager: AccountManager = make_manager()
    pool = make_pool(1, namespace=manager.default_pool.namespace)
    manager.add_pool(pool, "127.0.0.*")
    with httpx.Client(auth=AccountAuth(manager, account_timeout=5)) as client:
        assert client.get(site.url).status_code == 200
    assert site.seen == {"a1": 1}


def test_what_makes_no_sense_is_said_before_anything_is_taken(make_pool, site, server):
    pool, other = make_pool(1), awaited.AccountPool(name=make_pool().name, redis=server.url)
    for wrong in ({"per": "day"}, {"cooldown": -1}, {"max_cooldown": "1"}):
        with pytest.raises(ConfigError):
            AccountAuth(pool, **wrong)
    with pytest.raises(ConfigError, match="AccountPool"):
        AccountAuth(["a1"])
    with (
        pytest.raises(ConfigError, match=r"redispool\.asyncio is for"),
        httpx.Client(auth=AccountAuth(other)) as client,
    ):
        client.get(site.url)

    async def browse_blocking():
        async with httpx.AsyncClient(auth=AccountAuth(pool)) as client:
            await client.get(site.url)

    with pytest.raises(ConfigError, match="block the event loop"):
        asyncio.run(browse_blocking())
    assert pool.status().free == 1


def test_the_example_fetches_all_though_an_account_has_asked_too_often(make_pool, site, server):
    pool = make_pool(5, name="scrapers")
    site.limited, site.limits = {"a1"}, {"Retry-After": "100"}
    urls = [f"{site.url}/limited?{page}" for page in range(40)]
    program = [sys.executable, "scripts/examples/asyncio_scraper.py", *urls]
    environment = {**os.environ, "REDISPOOL_URL": server.url}
    pages = subprocess.check_output(program, env=environment, cwd=ROOT, text=True).splitlines()
    assert {page.split()[1] for page in pages} == set(urls)
    assert {page.split()[0] for page in pages} == {"200"}
    assert site.seen["a1"] == 1
    assert sum(site.seen.values()) == 41
    assert not site.refusals
    assert pool.status().cooling == 1
    pool.reset()
