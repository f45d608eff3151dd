"""One connection: all that is sent arrives, all that comes is read, and errors are those of redis-py."""

from __future__ import annotations

import socket
import struct
import threading
from enum import Enum

import pytest
import redis
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

from redispool import Account, AccountPool, AcquireTimeout, link
from redispool.connect import connect, private_client
from redispool.drivers import Wire
from redispool.link import DirectLink, Link, open_link, packed
from redispool.protocol.commands import Call, Plain
from tests.topologies import TlsServer

WORDS = ("SET", "näme", b"\xff\x00\r\n", "")
PACKED = b"*4\r\n$3\r\nSET\r\n$5\r\nn\xc3\xa4me\r\n$4\r\n\xff\x00\r\n\r\n$0\r\n\r\n"


@pytest.fixture
def without_hiredis(monkeypatch):
    monkeypatch.setattr(link, "Reader", None)
    monkeypatch.setattr(link, "pack_command", None)


@pytest.fixture(params=[True, False], ids=["hiredis", "no hiredis"])
def hiredis_or_not(request):
    if not request.param:
        request.getfixturevalue("without_hiredis")


@pytest.mark.usefixtures("hiredis_or_not")
def test_a_command_is_packed_as_the_protocol_has_it():
    assert packed(WORDS) == PACKED


@pytest.mark.usefixtures("hiredis_or_not")
@pytest.mark.parametrize("last", ["token", "tökn", "", b"token", b"\xff\r\n"])
@pytest.mark.parametrize("before", [("k", ""), ("ß\r\n$1\r\n",), (b"a record", "t"), ("x",) * 20, ()])
def test_a_script_is_packed_alike_however_often_it_is_sent(before, last, monkeypatch):
    monkeypatch.setattr(link, "_heads", {})
    words = ("EVALSHA", *before, last)
    anew = link._packed_anew(words)
    other = link._packed_anew(("EVALSHA", *before, "other"))
    assert [packed(words), packed(("EVALSHA", *before, "other")), packed(words)] == [anew, other, anew]


class Word(str, Enum):  # noqa: UP042 - a StrEnum would be printed as what it stands for
    """A text that is printed otherwise."""

    LONG = "x"


@pytest.mark.parametrize("words", [("EVALSHA", "k", Word.LONG), ("EVALSHA", Word.LONG, "k"), (Word.LONG, "k")])
def test_a_text_of_another_class_is_sent_as_what_it_stands_for(words):
    plain = tuple(str.__str__(word) for word in words)
    assert [packed(words), packed(plain), packed(words)] == [packed(plain)] * 3


def test_the_beginning_of_a_command_is_kept_for_a_while_and_no_secret(server, pool_name, monkeypatch):
    monkeypatch.setattr(link, "_heads", {})
    pool = AccountPool([Account("a", "hunter2")], name=pool_name, redis=server.url)
    pool.acquire_account().set_password("hunter3")
    assert link._heads
    assert "hunter" not in repr(link._heads)
    for number in range(3 * link._MOST_HEADS):
        packed(("EVALSHA", str(number), "token"))
    assert 0 < len(link._heads) <= link._MOST_HEADS


def test_every_word_that_is_sent_is_a_text(server, pool_name, monkeypatch):
    """hiredis would print a number, and fall over a handler that raises meanwhile (Ctrl-C): the process would crash."""
    sent = []
    perform = Wire.perform

    def recording(wire, command):
        sent.append(command)
        return perform(wire, command)

    monkeypatch.setattr(Wire, "perform", recording)
    accounts = [Account("a"), Account("b", max_sessions=2), Account("c", labels={"site": "x"})]
    pool = AccountPool(accounts, name=pool_name, redis=server.url, min_interval=0.01)
    with pool.acquire_account("a", priority=3, timeout=5) as a, pool.acquire_account(labels={"site": "x"}):
        a.lease.renew()
        with pytest.raises(AcquireTimeout):
            pool.acquire_account("a", timeout=0.01)
        pool.status()
    pool.configure(max_rate=100)
    pool.history()
    pool.audit()
    pool.quarantine("a", "out")
    pool.restore("a")
    pool.remove_account("a")
    pool.reset()
    words = [word for call in sent if isinstance(call, Call) for word in call.arguments]
    words += [word for plain in sent if isinstance(plain, Plain) for word in plain.words]
    assert len(words) > 100
    assert {type(word) for word in words} <= {str, bytes}


class Peer:
    """The server's end of a link, in the test's hands."""

    def __init__(self, patience: float) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            connection = redis.Connection(
                port=listener.getsockname()[1],
                socket_timeout=patience,
                redis_connect_func=lambda connection: connection._parser.on_connect(connection),  # says no hello
            )
            self.link = open_link(connection)
            self.socket, _ = listener.accept()
        self.socket.settimeout(10)

    def read(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            received += self.socket.recv(65536)
        return bytes(received)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@pytest.fixture
def peer(hiredis_or_not):
    peer = Peer(10.0)
    yield peer
    peer.link.close()
    peer.socket.close()


def test_a_reply_that_comes_in_pieces_is_read_whole(peer):
    reply = b"*4\r\n$7\r\ngranted\r\n:12\r\n$-1\r\n*1\r\n$4\r\n\xff\r\n\x00\r\n"
    sender = threading.Thread(target=lambda: [peer.socket.send(bytes([byte])) for byte in reply])
    sender.start()
    assert peer.link.receive() == [b"granted", 12, None, [b"\xff\r\n\x00"]]
    sender.join()


def test_two_replies_that_come_together_are_two(peer):
    peer.socket.sendall(b"+OK\r\n:1\r\n")
    assert [peer.link.receive(), peer.link.receive()] == [b"OK", 1]


def test_a_command_larger_than_all_buffers_arrives_whole(peer):
    words = ("SET", "key", b"x" * 20_000_000)
    command = packed(words)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(peer.read(len(command))))
    reader.start()
    peer.link.send(words)
    reader.join()
    assert received == [command]
    peer.socket.sendall(b"+OK\r\n")
    assert peer.link.receive() == b"OK"


def test_an_error_is_raised_and_the_next_reply_is_still_right(peer):
    peer.socket.sendall(b"-NOSCRIPT no such script\r\n-ERR what\r\n+OK\r\n")
    with pytest.raises(NoScriptError):
        peer.link.receive()
    with pytest.raises(ResponseError, match="what"):
        peer.link.receive()
    assert peer.link.receive() == b"OK"


def test_what_is_no_reply_is_an_invalid_response(peer):
    peer.socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(InvalidResponse):
        peer.link.receive()


def test_a_server_that_hangs_up_in_the_middle_is_a_connection_error(peer):
    peer.socket.sendall(b"*2\r\n:1\r\n")
    peer.socket.close()
    with pytest.raises(redis.ConnectionError, match="closed by server"):
        peer.link.receive()


def send_for_ever(to: Link) -> None:
    while True:
        to.send(("PING",))


def test_a_connection_that_is_reset_is_a_connection_error(peer):
    peer.reset()
    with pytest.raises(redis.ConnectionError):
        peer.link.receive()
    with pytest.raises(redis.ConnectionError):
        send_for_ever(peer.link)


def test_a_link_that_is_closed_serves_no_more(peer):
    peer.link.close()
    with pytest.raises(redis.ConnectionError):
        peer.link.receive()


def test_one_can_wait_for_a_reply_without_reading_it(peer):
    assert not peer.link.is_readable(0)
    assert not peer.link.is_readable(0.01)
    peer.socket.sendall(b"+OK\r\n")
    assert peer.link.is_readable(10)
    assert peer.link.receive() == b"OK"
    assert not peer.link.is_readable(0)


def test_what_came_unasked_behind_a_reply_is_something_to_read(peer):
    peer.socket.sendall(b"+OK\r\n+unasked\r\n")
    assert peer.link.receive() == b"OK"
    assert peer.link.is_readable(0)


def test_the_end_of_the_connection_is_something_to_read(peer):
    peer.socket.close()
    assert peer.link.is_readable(10)


@pytest.mark.usefixtures("hiredis_or_not")
def test_who_does_not_answer_in_time_or_does_not_read_is_given_up():
    peer = Peer(0.2)
    with pytest.raises(redis.TimeoutError):
        peer.link.receive()
    peer = Peer(0.2)
    with pytest.raises(redis.TimeoutError):
        peer.link.send(("SET", "key", b"x" * 50_000_000))


def open_to(client: redis.Redis) -> Link:
    return open_link(private_client(client).connection_pool.make_connection())


def ask(one: Link, *words: str) -> object:
    one.send(words)
    return one.receive()


def test_tcp_and_unix_sockets_are_spoken_to_directly(own_server, tmp_path):
    server = own_server("valkey", unixsocket=str(tmp_path / "s"))
    for client in (server.client(), redis.Redis(unix_socket_path=str(tmp_path / "s"))):
        one = open_to(client)
        assert type(one) is DirectLink  # else redis-py has renamed what we look for
        assert ask(one, "ECHO", "x") == b"x"


def test_what_is_encrypted_is_left_to_redis_py():
    server = TlsServer("localhost")
    try:
        one = open_to(connect(f"rediss://localhost:{server.tls_port}/0?{server.tls_query}"))
        assert type(one) is Link
        assert ask(one, "ECHO", "x") == b"x"
    finally:
        server.remove()


class Patient(redis.Connection):
    """One that only connects in its own way."""

    def on_connect(self) -> None:
        super().on_connect()


class Outspoken(redis.Connection):
    """One that speaks in its own way."""

    def send_packed_command(self, command, check_health=True):
        self.said = command
        super().send_packed_command(command, check_health)


def test_a_connection_that_speaks_in_its_own_way_does_so(server):
    clients = [
        redis.Redis(connection_pool=redis.ConnectionPool(connection_class=kind, port=server.port))
        for kind in (Patient, Outspoken)
    ]
    patient, outspoken = map(open_to, clients)
    assert type(patient) is DirectLink
    assert type(outspoken) is Link
    assert ask(outspoken, "ECHO", "x") == b"x"
    assert outspoken._connection.said == [packed(("ECHO", "x"))]


def test_without_hiredis_redis_py_reads(server, without_hiredis):
    one = open_to(server.client())
    assert type(one) is Link
    assert ask(one, "ECHO", "x") == b"x"


def test_a_pool_works_without_hiredis(make_pool, without_hiredis):
    pool: AccountPool = make_pool(2)
    with pool.lease() as one, pool.lease() as other:
        assert {one.name, other.name} == {"a1", "a2"}
        with pytest.raises(TimeoutError):
            pool.acquire_account(timeout=0.05)
