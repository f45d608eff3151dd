"""The judge itself: it must see what it is there to see."""

from __future__ import annotations

import paramiko
import pytest

from redispool import Account

from .ssh_server import SSHServer, logged_in, output_of

ACCOUNT = Account("a1", "secret")
FAILED = (paramiko.SSHException, EOFError, ConnectionError)


def test_an_account_logs_in_again_and_again():
    with SSHServer({"a1": "secret"}) as server:
        for _ in range(3):
            with logged_in(server.port, ACCOUNT) as client:
                assert output_of(client, "show clock") == "a1: show clock"
        figures = server.figures()
    assert (figures.logins["a1"], figures.refusals, figures.wrong["a1"]) == (3, {}, 0)


def test_a_second_login_at_a_time_is_refused_and_counted():
    with SSHServer({"a1": "secret"}) as server:
        with logged_in(server.port, ACCOUNT):
            with pytest.raises(FAILED), logged_in(server.port, ACCOUNT):
                pass
            assert server.figures().in_use == ["a1"]
        with logged_in(server.port, ACCOUNT) as client:
            assert output_of(client, "show clock") == "a1: show clock"
        assert server.figures().refusals == {"a1": 1}


def test_a_wrong_password_is_counted():
    with SSHServer({"a1": "secret"}) as server:
        with pytest.raises(FAILED), logged_in(server.port, Account("a1", "wrong")):
            pass
        assert server.figures().wrong == {"a1": 1}


def test_connections_are_dropped_by_the_dice_of_the_seed():
    def dropped(seed):
        with SSHServer({"a1": "secret"}, drops=0.5, seed=seed) as server:
            lost = [no_output(server) for _ in range(12)]
            assert server.figures().dropped["a1"] == sum(lost)
            return lost

    def no_output(server):
        try:
            with logged_in(server.port, ACCOUNT) as client:
                return output_of(client, "show clock") != "a1: show clock"
        except FAILED:
            return True

    assert any(first := dropped(3))
    assert not all(first)
    assert dropped(3) == first
