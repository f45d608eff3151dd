"""Keys for sealing, and what is said when they do not fit."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st

from redispool import Account, AccountPool, ConfigError, SealError
from redispool.sealing import FernetSeal, seal_from
from tests.conftest import shown

OLD, NEW = (Fernet.generate_key() for _ in range(2))


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch):
    monkeypatch.delenv("REDISPOOL_KEY", raising=False)


@given(body=st.binary(max_size=300), context=st.text(st.characters(exclude_characters="\0"), max_size=50))
@settings(max_examples=100, deadline=None)
def test_what_was_sealed_opens_with_the_same_key_and_context(body, context):
    seal = FernetSeal([NEW])
    assert seal.open(seal.close(body, context), context) == body


def test_the_first_key_seals_and_all_open():
    both = FernetSeal([NEW, OLD])
    assert both.open(FernetSeal([OLD]).close(b"body", "lab\na"), "lab\na") == b"body"
    assert FernetSeal([NEW]).open(both.close(b"body", "lab\na"), "lab\na") == b"body"
    with pytest.raises(SealError):
        FernetSeal([OLD]).open(both.close(b"body", "lab\na"), "lab\na")


def test_the_same_body_is_never_sealed_alike():
    seal = FernetSeal([NEW])
    assert seal.close(b"body", "c") != seal.close(b"body", "c")


def test_another_key_is_named_as_the_trouble_and_not_shown():
    with pytest.raises(SealError, match=r"record of 'lab/a' does not open.*REDISPOOL_KEY") as caught:
        FernetSeal([NEW]).open(FernetSeal([OLD]).close(b"hunter2", "lab\na"), "lab\na")
    assert NEW.decode() not in str(caught.value)


def test_another_context_is_told_from_another_key():
    seal = FernetSeal([NEW])
    with pytest.raises(SealError, match="sealed for another account"):
        seal.open(seal.close(b"body", "lab\na"), "lab\nb")


@pytest.mark.parametrize("cipher", [NEW, NEW.decode(), [NEW], (NEW, OLD), lambda: NEW, lambda: [NEW, OLD]], ids=shown)
def test_a_cipher_is_a_key_a_list_of_keys_or_what_returns_either(cipher):
    sealed = seal_from(cipher).close(b"body", "c")
    assert FernetSeal([NEW]).open(sealed, "c") == b"body"


def test_without_a_cipher_the_environment_decides(monkeypatch):
    assert seal_from(None) is None
    monkeypatch.setenv("REDISPOOL_KEY", f" {NEW.decode()} , {OLD.decode()},")
    assert FernetSeal([NEW]).open(seal_from(None).close(b"body", "c"), "c") == b"body"


@pytest.mark.parametrize("cipher", ["hunter2", b"hunter2", [NEW, "hunter2"], [7], [None], lambda: "hunter2"], ids=shown)
def test_what_is_no_key_is_refused_unquoted(cipher):
    with pytest.raises(ConfigError, match="generate_key") as caught:
        seal_from(cipher)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("cipher", [[], (), 7, object(), lambda: None, list], ids=shown)
def test_a_cipher_without_a_key_is_a_clear_error_and_not_an_unsealed_pool(cipher):
    with pytest.raises(ConfigError):
        seal_from(cipher)


def test_without_the_cryptography_package_the_message_says_what_to_install():
    program = f"""
import sys
sys.modules["cryptography"] = sys.modules["cryptography.fernet"] = None
from redispool import ConfigError
from redispool.sealing import seal_from
try:
    seal_from({NEW!r})
except ConfigError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "pip install 'redispool[" in said


def test_a_sealed_pool_shows_nothing_in_redis_and_everything_to_who_has_the_key(make_pool, client, pool_name):
    pool = make_pool([Account("a1", "hunter2")], cipher=NEW)
    stored = client.hget(f"redispool:{{{pool_name}}}:accounts", "a1")
    assert b"hunter2" not in stored
    with pool.lease() as account:
        assert account.get_password() == "hunter2"


def test_a_pool_without_the_key_says_so_and_its_names_can_be_seen_still(make_pool, server, pool_name):
    make_pool([Account("a1", "hunter2")], cipher=NEW)
    blind = AccountPool(name=pool_name, redis=server.url)
    with pytest.raises(SealError, match="REDISPOOL_KEY"):
        blind.acquire_account(timeout=1)
    assert blind.n_accounts() == 1
    assert blind.has_account("a1")


def test_an_account_that_cannot_be_opened_is_not_kept_by_who_could_not_open_it(make_pool, server, pool_name):
    sighted = make_pool([Account("a1", "hunter2")], cipher=NEW)
    blind = AccountPool(name=pool_name, redis=server.url)
    with pytest.raises(SealError):
        blind.acquire_account(timeout=1)
    sighted.acquire_account(timeout=1).release()
