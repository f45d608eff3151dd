"""Exscript's own Queue and protocols, with redispool's classes in the place of Exscript's, as its tests use them."""

from __future__ import annotations

import multiprocessing

import pytest

pytest.importorskip("Exscript")

import Exscript
from Exscript import Host
from Exscript.account import AccountProxy
from Exscript.emulators import VirtualDevice
from Exscript.protocols import Dummy, connect, prepare
from Exscript.protocols.exception import InvalidCommandException, LoginFailure
from Exscript.util.decorator import autologin, bind

from redispool import AccountManager, PrivateKey

from .queue_program import judged_host, log_in
from .queues import dummy, run
from .telnet_judge import TelnetJudge

# Exscript leaves its files and sockets to the garbage collector, and forks beside its threads
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture
def queue(stand_in, open_queue, mode):
    queue = open_queue(mode=mode, max_threads=1)
    assert isinstance(queue.account_manager, AccountManager)
    return queue


@pytest.fixture
def count():
    """Counts its calls in all processes."""
    calls = multiprocessing.Value("i", 0)

    def function(job, host, conn, *words, **options):
        with calls.get_lock():
            calls.value += 1

    function.calls = calls
    return function


def make(*words, **options):
    return Exscript.Account(*words, **options)


# -- Queue -----------------------------------------------------------------------------------------------------------


def test_a_pipe_of_a_queue_lends_an_account(queue):
    account = make("user", "test")
    queue.account_manager.add_account(account)
    expected = account.__hash__(), "user", "test", "test", None
    pipe = queue._create_pipe()
    for request in (
        ("acquire-account-for-host", Host("localhost")),
        ("acquire-account-from-hash", account.__hash__()),
    ):
        pipe.send(request)
        assert pipe.recv() == expected
        assert account not in queue.account_manager.default_pool.unlocked_accounts
        pipe.send(("release-account", account.__hash__()))
        assert pipe.recv() == "ok"
        assert account in queue.account_manager.default_pool.unlocked_accounts
    pipe.close()


def test_what_a_pipe_holds_goes_back_when_it_closes(queue):
    account = make("user", "test")
    queue.add_account(account)
    pipe = queue._create_pipe()
    pipe.send(("acquire-account-for-host", Host("localhost")))
    pipe.recv()
    pipe.close()
    queue.join()
    assert account in queue.account_manager.default_pool.unlocked_accounts


def test_a_queue_takes_accounts_and_pools(queue):
    manager = queue.account_manager
    assert manager.default_pool.n_accounts() == 0
    queue.add_account(make("user", "test"))
    assert manager.default_pool.n_accounts() == 1
    first, second = Exscript.AccountPool(), Exscript.AccountPool()
    queue.add_account_pool(first)
    assert manager.default_pool == first
    queue.add_account_pool(second, lambda host: True)
    assert manager.default_pool == first


def test_a_queue_tells_how_far_it_is(queue, count):
    queue.add_account(make("user", "test"))
    assert queue.is_completed()
    assert queue.get_progress() == 0.0
    task = queue.run(["dummy://r1", "dummy://r2"], autologin()(count))
    queue.join()
    assert task.is_completed()
    assert queue.is_completed()
    assert queue.get_progress() == 100.0
    assert count.calls.value == 2
    queue.shutdown()
    assert queue.is_completed()


@pytest.mark.parametrize("force", [False, True])
def test_a_queue_that_is_destroyed_or_reset_has_no_accounts(queue, count, force):
    queue.add_account(make("user", "test"))
    run(queue, "dummy://r1", autologin()(count))
    queue.reset()
    assert queue.account_manager.default_pool.n_accounts() == 0
    queue.add_account(make("user", "test"))
    run(queue, "dummy://r1", autologin()(count))
    assert queue.errors == {}
    queue.destroy(force=force)
    assert queue.account_manager.default_pool.n_accounts() == 0
    assert count.calls.value == 2


def test_a_queue_tells_of_what_its_jobs_raise(queue):
    def fail(job, host, conn):
        raise RuntimeError("intentional")

    run(queue, ["dummy://r1", "dummy://r2"], fail, attempts=3)
    assert {name: [str(error) for error in errors] for name, errors in queue.errors.items()} == {
        "r1": ["intentional"] * 3,
        "r2": ["intentional"] * 3,
    }
    assert queue.failed == 2


def test_a_job_that_cannot_log_in_is_tried_again_with_an_account(queue):
    queue.add_account(make("user", "test"))
    failures = multiprocessing.SimpleQueue()

    @autologin()
    def fail_once(job, host, conn):
        failures.put(job.failures)
        if job.failures == 0:
            raise InvalidCommandException("first attempt")

    run(queue, "dummy://r1", fail_once, attempts=2)
    assert (failures.get(), failures.get()) == (0, 1)
    assert queue.failed == 0
    assert len(queue.account_manager.default_pool.unlocked_accounts) == 1


@pytest.mark.parametrize("way", ["run", "run_or_ignore", "priority_run", "priority_run_or_raise", "force_run"])
def test_every_way_to_run_a_job_logs_in(queue, count, way):
    queue.add_account(make("user", "test"))
    queue.workqueue.pause()
    for _ in range(2):
        getattr(queue, way)("dummy://r1" if "_or_" in way else dummy("r1"), bind(autologin()(count), "word", option=1))
        if way in {"priority_run", "force_run"}:  # these insist on names that differ
            break
    queue.workqueue.unpause()
    queue.join()
    assert queue.errors == {}
    assert count.calls.value == {"run": 2}.get(way, 1)


def test_few_accounts_serve_many_jobs_in_turn(stand_in, open_queue, mode):
    queue = open_queue(mode=mode, max_threads=4)
    passwords = {"a": "1", "b": "2"}
    queue.add_account([make(*words) for words in passwords.items()])
    with TelnetJudge(passwords, seconds=0.01) as judge:
        run(queue, [judged_host(f"r{number}", judge.port) for number in range(12)], log_in)
    assert queue.errors == {}
    assert judge.refusals == judge.wrong == {}
    assert judge.logins.total() == 12


def test_hosts_with_accounts_of_their_own_use_these(queue):
    in_pool = make("pooled", "1")
    queue.add_account([in_pool, make("other", "2")])
    with TelnetJudge({"pooled": "1", "alone": "3"}) as judge:
        for account in (in_pool, make("pooled", "not known here"), make("alone", "3")):
            host = judged_host("r1", judge.port)
            host.set_account(account)
            run(queue, host, log_in)
    assert queue.errors == {}
    assert judge.logins == {"pooled": 2, "alone": 1}
    assert len(queue.account_manager.default_pool.unlocked_accounts) == 2


# Exscript's handler of the job's pipe ends of the error that it has told the job
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_without_any_account_a_job_fails(queue, count):
    run(queue, "dummy://r1", autologin()(count))
    (error,) = queue.errors["r1"]
    assert isinstance(error, ValueError)
    assert count.calls.value == 0


# -- AccountProxy over a queue's pipe ----------------------------------------------------------------------------------


def test_exscripts_proxies_get_our_accounts(queue):
    queue.add_account(make("user", "pass", "enable"))
    pipe = queue._create_pipe()
    for acquire in (
        lambda: AccountProxy.for_host(pipe, Host("localhost")),
        lambda: AccountProxy.for_account_hash(pipe, make("user").__hash__()),
    ):
        proxy = acquire()
        told = proxy.get_name(), proxy.get_password(), proxy.get_authorization_password(), proxy.get_key()
        assert told == ("user", "pass", "enable", None)
        with proxy.context() as context:
            context.release()
            context.acquire()
    assert AccountProxy.for_account_hash(pipe, make("nobody").__hash__()) is None
    pipe.close()


# -- the protocols -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["in no pool", "in a pool", "a handle"])
def account(request, stand_in):
    account = make("user", "pass", "enable")
    if request.param == "in no pool":
        yield account
        return
    pool = stand_in.AccountPool(account)
    yield account if request.param == "in a pool" else pool.get_account_from_name("user")
    assert pool.status().held == 0


@pytest.fixture
def open_conn(stand_in):
    """Opens connections to devices that ask for a user and a password, or for a password only."""
    opened = []

    def open_one(login_type=VirtualDevice.LOGIN_TYPE_BOTH):
        conn = Dummy(device=VirtualDevice("r1", strict=False, login_type=login_type))
        conn.connect("r1")
        opened.append(conn)
        return conn

    yield open_one
    for conn in opened:
        conn.close(force=True)


@pytest.fixture
def conn(open_conn):
    return open_conn()


def released(account):
    account.acquire()
    account.release()
    return True


def test_a_login_takes_the_account_and_gives_it_back(conn, account):
    events = []
    account.acquired_event.connect(lambda account: events.append("acquired"))
    account.released_event.connect(lambda account: events.append("released"))
    conn.login(account, flush=False)
    assert conn.is_protocol_authenticated()
    assert conn.is_app_authenticated()
    assert conn.is_app_authorized()
    assert events == ["acquired", "released"], "and the steps of the login did not take it again"
    assert released(account)


@pytest.mark.parametrize(
    "steps",
    [("authenticate",), ("protocol_authenticate", "app_authenticate"), ("login", "protocol_authenticate")],
    ids=", ".join,
)
def test_each_step_of_a_login_takes_the_account(conn, account, steps):
    for step in steps:
        getattr(conn, step)(account)
        assert released(account)


def test_the_last_account_is_taken_where_none_is_given(conn, account):
    conn.protocol_authenticate(account)
    conn.app_authenticate()
    assert conn.is_app_authenticated()
    assert conn.last_account is account
    assert released(account)


def test_an_account_that_is_held_already_is_given_as_its_context(conn, account):
    account.acquire()
    with account.context() as context:
        conn.login(context)
    assert released(account)


@pytest.mark.parametrize("name", ["user", ""])
def test_an_account_authorizes_with_its_second_password(open_conn, name):
    conn = open_conn(VirtualDevice.LOGIN_TYPE_PASSWORDONLY)
    account = make(name, "pass", "enable")
    sent = []
    conn.send = lambda data: sent.append(data) or Dummy.send(conn, data)
    conn.app_authorize(account)
    assert conn.is_app_authorized()
    assert sent == ["enable\r"]
    assert released(account)


def test_a_login_without_an_account_is_an_error(conn):
    with pytest.raises(TypeError, match="account is required"):
        conn.login()


def test_a_login_that_fails_gives_the_account_back(terminal, account):
    with TelnetJudge({"user": "another"}) as judge:
        conn = prepare(judged_host("r1", judge.port))
        conn.connect("127.0.0.1", judge.port)
        with pytest.raises(LoginFailure):
            conn.login(account)
        conn.close(force=True)
    assert judge.wrong == {"user": 1}
    assert released(account)


def test_connecting_logs_in_with_the_account_of_the_url(stand_in, terminal):
    with TelnetJudge({"user": "pass"}) as judge:
        connect(f"telnet://user:pass@127.0.0.1:{judge.port}").close(force=True)
    assert judge.logins == {"user": 1}


def test_a_key_is_asked_for_by_the_protocol(conn, account, monkeypatch):
    keys = []
    monkeypatch.setattr(type(conn), "_protocol_authenticate_by_key", lambda conn, user, key: keys.append((user, key)))
    account = make("keyed", key=PrivateKey("ecdsa"))
    conn.protocol_authenticate(account)
    assert [(user, key.get_type()) for user, key in keys] == [("keyed", "ecdsa")]
