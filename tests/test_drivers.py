"""The loop that feeds a flow, and the wire that carries its commands to a real server."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from redispool import Account, AccountPool, ProtocolMismatch, link
from redispool.connect import private_client
from redispool.drivers import Wire, run, translated
from redispool.protocol import scripts
from redispool.protocol.channel import PoolChannel
from redispool.protocol.commands import Block, Call, Pause, Plain, Unavailable
from redispool.protocol.flows import LeaseFlows, Request
from redispool.protocol.keys import PoolKeys
from tests.conftest import shown

from .conftest import wait_until

# -- the loop ----------------------------------------------------------------------------------------------------

FIRST, SECOND, CLEAN_UP = Plain(("FIRST",)), Plain(("SECOND",)), Plain(("CLEAN_UP",))


class FakeWire:
    """Answers each command with what the test says, or raises it."""

    def __init__(self, **replies):
        self.replies = replies
        self.performed = []

    def perform(self, command):
        self.performed.append(command.words[0])
        reply = self.replies.get(command.words[0])
        if isinstance(reply, BaseException):
            raise reply
        return reply


def two_commands():
    first = yield FIRST
    try:
        second = yield SECOND
    except BaseException:
        yield CLEAN_UP
        raise
    return first, second


def test_each_reply_is_sent_to_the_flow_and_its_result_comes_out():
    wire = FakeWire(FIRST=1, SECOND=2)
    assert run(two_commands(), wire) == (1, 2)
    assert wire.performed == ["FIRST", "SECOND"]


def test_a_flow_that_asks_for_nothing_has_a_result_too():
    def flow():
        return 7
        yield

    assert run(flow(), FakeWire()) == 7


@pytest.mark.parametrize(
    "error", [Unavailable(OSError()), RuntimeError(), KeyboardInterrupt(), SystemExit()], ids=shown
)
def test_what_is_raised_at_a_command_is_thrown_into_the_flow_which_cleans_up(error):
    wire = FakeWire(SECOND=error)
    with pytest.raises(type(error)) as caught:
        run(two_commands(), wire)
    assert caught.value is error
    assert wire.performed == ["FIRST", "SECOND", "CLEAN_UP"]


def test_a_flow_may_get_over_what_is_thrown_into_it():
    def flow():
        try:
            yield FIRST
        except Unavailable:
            return (yield SECOND)

    assert run(flow(), FakeWire(FIRST=Unavailable(OSError()), SECOND=2)) == 2


def test_the_flows_own_last_word_comes_out_and_is_not_thrown_back_into_it():
    def flow():
        try:
            yield FIRST
        except Unavailable:
            raise LookupError("its own") from None

    with pytest.raises(LookupError, match="its own"):
        run(flow(), FakeWire(FIRST=Unavailable(OSError())))


def test_an_error_of_the_flow_itself_comes_out():
    def flow():
        yield FIRST
        raise LookupError("its own")

    with pytest.raises(LookupError, match="its own"):
        run(flow(), FakeWire())


def test_an_exception_while_it_cleans_up_is_thrown_into_the_clean_up():
    wire = FakeWire(SECOND=KeyboardInterrupt("first"), CLEAN_UP=KeyboardInterrupt("second"))
    with pytest.raises(KeyboardInterrupt, match="second"):
        run(two_commands(), wire)


# -- what an error means -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("refused"), redis.TimeoutError("no reply"), ConnectionResetError(), OSError("no route"),
        redis.exceptions.BusyLoadingError("loading"), redis.exceptions.ReadOnlyError("replica"),
        redis.exceptions.ClusterDownError("down"), redis.exceptions.TryAgainError("moving"),
        redis.exceptions.MasterDownError("down"), redis.ResponseError("UNBLOCKED client unblocked"),
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        redis.ResponseError("BUSY Redis is busy running a script."),
    ],
    ids=shown,
)  # fmt: skip
def test_an_outage_is_one_by_any_name_and_keeps_its_cause(error):
    meant = translated(error)
    assert isinstance(meant, Unavailable)
    assert meant.cause is error


@pytest.mark.parametrize(
    "error",
    [
        redis.AuthenticationError("WRONGPASS"), redis.exceptions.AuthorizationError("no"),
        redis.exceptions.NoPermissionError("NOPERM"), redis.ResponseError("OOM command not allowed"),
        redis.ResponseError("ERR unknown command"), redis.ResponseError("BUSYGROUP Consumer Group name already exists"),
        ValueError("no"), redis.DataError("no"),
    ],
    ids=shown,
)  # fmt: skip
def test_what_no_patience_can_mend_is_left_as_it_is(error):
    assert translated(error) is error


@pytest.mark.parametrize(
    "text",
    [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "ERR Error running script (call to f_0): @user_script:7: WRONGTYPE Operation against a key",
    ],
)
def test_a_key_of_the_wrong_type_is_foreign_data(text):
    meant = translated(redis.ResponseError(text))
    assert isinstance(meant, ProtocolMismatch)
    assert "another namespace or pool name" in str(meant)


@pytest.mark.parametrize(
    "text", ["ERR value is not an integer or out of range", "ERR increment or decrement would overflow"]
)
def test_a_counter_that_counts_no_more_is_foreign_data(text):
    assert isinstance(translated(redis.ResponseError(text)), ProtocolMismatch)


# -- the wire, to a real server ----------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["hiredis", "no hiredis"])
def hiredis_or_not(request, monkeypatch):
    """Whether hiredis is installed."""
    if not request.param:
        monkeypatch.setattr(link, "Reader", None)
        monkeypatch.setattr(link, "pack_command", None)


@pytest.fixture
def wire(server, hiredis_or_not):
    return Wire(private_client(server.client()))


@pytest.fixture
def keys(pool_name):
    return PoolKeys("redispool", pool_name)


def lookup(keys) -> Call:
    return Call(scripts.LOOKUP, keys.meta, (scripts.PROTOCOL_VERSION, "1", "name", "a1"))


def test_a_script_the_server_has_forgotten_is_sent_whole(wire, client, keys):
    assert wire.perform(lookup(keys)) == [None]
    client.script_flush()
    assert wire.perform(lookup(keys)) == [None]
    assert client.script_exists(scripts.LOOKUP.sha) == [True]
    assert wire.perform(lookup(keys)) == [None]


def test_a_block_brings_the_mail_or_nothing(wire, client, keys):
    mailbox = keys.mailbox("b")
    assert wire.perform(Block(mailbox, "t", 0.02, 0.02)) is None
    client.rpush(mailbox, b"\xff\x00mail")
    assert wire.perform(Block(mailbox, "t", 10.0, 10.0)) == b"\xff\x00mail"


def test_a_pause_has_no_reply(wire):
    assert wire.perform(Pause(0.001)) is None


@pytest.mark.parametrize(
    "options",
    [
        {"decode_responses": True}, {"protocol": 3}, {"protocol": 3, "decode_responses": True}, {"encoding": "latin-1"},
        {"retry": Retry(ConstantBackoff(1), 10), "retry_on_error": [redis.ConnectionError]}, {"socket_timeout": None},
        {"health_check_interval": 1, "single_connection_client": True},
    ],
    ids=shown,
)  # fmt: skip
def test_the_settings_of_the_users_client_do_not_matter(server, pool_name, options):
    with server.client(**options) as users:
        pool = AccountPool(Account("näme", "pä\udcffss\0"), name=pool_name, redis=users)
        with pool.lease(timeout=5) as account:
            assert account.get_name() == "näme"
            assert account.get_password() == "pä\udcffss\0"
            with pytest.raises(TimeoutError):
                pool.acquire_account(timeout=0.05)
        assert [one.name for one in pool.accounts] == ["näme"]
        assert users.ping()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode", [False, True])
def test_replies_are_bytes_whatever_the_client_would_make_of_them(server, client, keys, protocol, decode):
    """Even a client that was not made by `private_client` serves: the wire reads for itself."""
    with server.client(protocol=protocol, decode_responses=decode) as users:
        wire = Wire(users)
        client.rpush(keys.mailbox("b"), b"mail")
        assert wire.perform(Block(keys.mailbox("b"), "t", 10.0, 10.0)) == b"mail"
        assert wire.perform(lookup(keys)) == [None]
        assert wire.perform(Plain(("ECHO", "x"))) == b"x"


def test_the_users_client_gets_no_foreign_replies(server, pool_name):
    with server.client(single_connection_client=True) as users:
        pool = AccountPool(Account("a1"), name=pool_name, redis=users)
        with pool.lease():
            assert users.echo("mine") == b"mine"


def test_a_server_that_is_gone_is_unavailable_with_redis_pys_error_as_the_cause(own_server):
    server = own_server()
    wire = Wire(private_client(server.client()))
    wire.perform(Plain(("PING",)))
    server.kill()
    with pytest.raises(Unavailable) as caught:
        wire.perform(Plain(("PING",)))
    assert isinstance(caught.value.cause, redis.ConnectionError)


def test_a_wrong_password_is_no_outage(own_server):
    server = own_server()
    with server.client() as admin:
        admin.config_set("requirepass", "right")
    wire = Wire(private_client(redis.Redis(port=server.port, password="wrong")))
    with pytest.raises(redis.AuthenticationError):
        wire.perform(Plain(("PING",)))


def test_a_replica_is_an_outage_until_it_is_the_master_and_its_connection_is_not_kept(own_server, keys):
    server = own_server()
    wire = Wire(private_client(server.client()))
    with server.client() as admin:
        admin.replicaof("127.0.0.1", 1)
        with pytest.raises(Unavailable):
            wire.perform(Plain(("SET", "k", "v")))
        assert not any(c.is_connected for c in wire.client.connection_pool._available_connections)
        admin.replicaof("no", "one")
        assert wire.perform(Plain(("SET", "k", "v"))) == b"OK"


def blocked(client) -> list[dict]:
    return [one for one in client.client_list() if one["cmd"] == "blpop"]


def blocks_in_thread(wire, mailbox):
    outcome = []

    def block():
        try:
            outcome.append(wire.perform(Block(mailbox, "t", 4.0, 4.0)))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=block)
    thread.start()
    return thread, outcome


@pytest.mark.parametrize("command", [("CLIENT", "UNBLOCK", "{id}", "ERROR"), ("CLIENT", "KILL", "ID", "{id}")], ids=str)
def test_being_unblocked_or_cut_off_by_an_operator_is_an_outage(own_server, keys, command):
    server = own_server()
    wire = Wire(private_client(server.client()))
    with server.client() as admin:
        thread, outcome = blocks_in_thread(wire, keys.mailbox("b"))
        (waiter,) = wait_until(lambda: blocked(admin))
        admin.execute_command(*(word.format(id=waiter["id"]) for word in command))
        thread.join()
    assert isinstance(outcome[0], Unavailable)
    assert wire.perform(Plain(("PING",))) == b"PONG"


def test_a_foreign_mailbox_is_a_mismatch(wire, client, keys):
    client.set(keys.mailbox("b"), "a string")
    with pytest.raises(ProtocolMismatch, match="WRONGTYPE"):
        wire.perform(Block(keys.mailbox("b"), "t", 0.05, 0.05))
    assert wire.perform(Plain(("PING",))) == b"PONG"


@pytest.fixture
def interrupt_main():
    """Interrupts the main thread as Ctrl-C would, once the condition holds."""
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    threads = []

    def when(condition):
        def wait():
            wait_until(condition)
            os.kill(os.getpid(), signal.SIGUSR1)

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield when
    for thread in threads:
        thread.join()
    signal.signal(signal.SIGUSR1, before)


def test_after_an_interrupted_read_a_late_reply_is_never_taken_for_anothers(own_server, keys, interrupt_main):
    server = own_server()
    wire = Wire(private_client(server.client()))
    with server.client() as admin:
        interrupt_main(lambda: blocked(admin))
        with pytest.raises(KeyboardInterrupt):
            wire.perform(Block(keys.mailbox("b"), "t", 4.0, 4.0))
        admin.rpush(keys.mailbox("b"), b"late")
        for number in range(5):
            assert wire.perform(Plain(("ECHO", number))) == str(number).encode()


def test_ctrl_c_while_waiting_leaves_the_queue_and_loses_nothing(own_server, interrupt_main):
    server = own_server()
    pool = AccountPool(Account("a1"), name="lab", redis=server.url)
    held = pool.acquire_account()
    with server.client() as admin:
        interrupt_main(lambda: blocked(admin))
        with pytest.raises(KeyboardInterrupt):
            pool.acquire_account()
        assert pool.status().waiting == 0
        held.release()
        pool.acquire_account(timeout=0).release()
        assert not [key for key in admin.scan_iter() if b":mail:" in key or b":alive:" in key]


def test_an_interrupt_between_the_servers_grant_and_its_arrival_gives_the_account_back(server, keys, make_pool):
    """The reply is lost in the flow's driver: nobody knows of the grant but the server."""
    pool = make_pool(1)
    wire = Wire(private_client(server.client()))

    class Interrupted:
        def perform(self, command):
            reply = wire.perform(command)
            if isinstance(command, Call) and command.script is scripts.ACQUIRE:
                assert reply[0] == b"granted"
                raise KeyboardInterrupt
            return reply

    flows = LeaseFlows(PoolChannel(keys, patience=1.0), slice_seconds=1.0)
    with pytest.raises(KeyboardInterrupt):
        run(flows.acquire(Request("token", "token", "me", 60.0), None), Interrupted())
    status = pool.status()
    assert (status.free, status.held, status.waiting) == (1, 0, 0)
