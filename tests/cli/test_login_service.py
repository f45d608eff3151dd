"""The demo's judge must itself be reliable."""

from __future__ import annotations

import socket

import pytest

from redispool.cli.login_service import LoginRefused, LoginService, login
from tests.conftest import wait_until


@pytest.fixture
def service():
    with LoginService({"alice": "secret", "bob": "other"}) as running:
        yield running


def test_a_second_login_to_an_account_in_use_is_refused_and_counted(service):
    with login(service.port, "alice", "secret"):
        with pytest.raises(LoginRefused, match="in use"), login(service.port, "alice", "secret"):
            pytest.fail("let in twice")
        with login(service.port, "bob", "other"):
            assert service.in_use == {"alice", "bob"}
    assert service.refusals == {"alice": 1}
    assert service.logins == {"alice": 1, "bob": 1}


def test_a_refused_login_does_not_end_the_one_that_was_first(service):
    with login(service.port, "alice", "secret"):
        for _ in range(3):
            with pytest.raises(LoginRefused), login(service.port, "alice", "secret"):
                pytest.fail("let in twice")
    assert service.refusals == {"alice": 3}


def test_after_a_logout_the_next_login_is_let_in_at_once(service):
    for _ in range(50):
        with login(service.port, "alice", "secret"):
            pass
    assert service.logins == {"alice": 50}
    assert not service.refusals


def test_a_dropped_connection_ends_the_login(service):
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(b'{"account": "alice", "password": "secret"}\n')
        assert connection.recv(100) == b"welcome\n"
        assert service.in_use == {"alice"}
    wait_until(lambda: not service.in_use)


@pytest.mark.parametrize(("account", "password"), [("alice", "wrong"), ("nobody", "secret")])
def test_a_wrong_password_is_no_login_and_no_refusal(service, account, password):
    with pytest.raises(LoginRefused, match="wrong password"), login(service.port, account, password):
        pytest.fail("let in")
    assert not service.logins
    assert not service.refusals


@pytest.mark.parametrize("nonsense", [b"hello\n", b"[]\n", b"{}\n", b"\xff\n", b""])
def test_nonsense_disturbs_nobody(service, nonsense):
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(nonsense)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    with login(service.port, "alice", "secret"):
        assert service.in_use == {"alice"}
