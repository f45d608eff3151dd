"""An account, and the bytes that stand for it."""

from __future__ import annotations

import json
import traceback

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st

from redispool import Account, PrivateKey, ProtocolMismatch, SealError
from redispool.protocol import records
from redispool.protocol.records import decode, encode
from redispool.sealing import FernetSeal

SEAL = FernetSeal([Fernet.generate_key()])
SECRET = "hunter2"

# any text, lone surrogates and NULs included
anything = st.text(st.characters(codec=None, categories=None, exclude_categories=()), max_size=200)
names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=100)

short = names.filter(lambda name: len(name.encode()) <= 200)


def fields(account: Account) -> dict:
    return {
        "name": account.name,
        "password": account.password,
        "password2": account.authorization_password,
        "needs_lock": account.needs_lock,
        "max_sessions": account.max_sessions,
        "labels": account.labels,
    }


def there_and_back(account: Account, seal=None) -> Account:
    return decode(account.name, encode(account, seal, "lab"), seal, "lab", Account)


@pytest.mark.parametrize("seal", [None, SEAL], ids=["plain", "sealed"])
@given(
    name=names,
    password=anything,
    password2=st.none() | anything,
    needs_lock=st.booleans(),
    max_sessions=st.integers(1, 10_000),
    labels=st.dictionaries(short.filter(lambda name: "=" not in name), short, max_size=3),
)
@settings(max_examples=150, deadline=None)
def test_an_account_comes_back_as_it_was(seal, name, password, password2, needs_lock, max_sessions, labels):
    account = Account(name, password, password2, None, needs_lock, max_sessions=max_sessions, labels=labels)
    assert fields(there_and_back(account, seal)) == fields(account)


@pytest.mark.parametrize(
    "password",
    ["", "x" * 4096, "\N{PILE OF POO}" * 4096, "a\nb\r\n\0c", "\ud800", "\ud83d\udca9", '{"}', "a:b c\t", "7\n{}"],
)
@pytest.mark.parametrize("seal", [None, SEAL], ids=["plain", "sealed"])
def test_passwords_of_any_kind_come_back(seal, password):
    assert there_and_back(Account("a", password, password), seal).password == password


@pytest.mark.parametrize("seal", [None, SEAL], ids=["plain", "sealed"])
def test_a_private_key_travels_with_its_account(seal):
    key = PrivateKey.restore("ed25519", "/home/me/.ssh/id", SECRET, "-----BEGIN\nä\n")
    back = there_and_back(Account("a", key=key), seal).key
    assert [back.get_type(), back.get_filename(), back.get_password(), back.get_text()] == [
        "ed25519", "/home/me/.ssh/id", SECRET, "-----BEGIN\nä\n",
    ]  # fmt: skip


def test_a_key_of_which_only_the_type_is_known_travels_too():
    assert there_and_back(Account("a", key=PrivateKey("ecdsa"))).key.get_type() == "ecdsa"


def test_a_missing_authorization_password_stays_missing_and_an_empty_one_empty():
    assert there_and_back(Account("a", "x")).authorization_password is None
    assert there_and_back(Account("a", "x", "")).authorization_password == ""


@pytest.mark.parametrize(("account", "limit"), [
    (Account("a"), b"1"), (Account("a", max_sessions=7), b"7"), (Account("a", needs_lock=False, max_sessions=7), b"0"),
])  # fmt: skip
@pytest.mark.parametrize("seal", [None, SEAL], ids=["plain", "sealed"])
def test_what_the_scripts_must_know_stands_in_front_legibly(seal, account, limit):
    assert encode(account, seal, "lab").split(b"\n")[0] == limit


def test_an_open_record_is_legible_json_and_says_no_more_than_it_must():
    _, _, body = encode(Account("a", "pä ss"), None, "lab").partition(b"\n")
    assert json.loads(body) == {"password": "pä ss"}
    assert "pä ss".encode() in body


def test_a_sealed_record_shows_no_secrets_but_the_labels_that_the_server_chooses_by():
    record = encode(Account("alice", SECRET, SECRET, labels={"site": "vienna"}), SEAL, "lab")
    assert record.startswith(b"1\tsite=vienna\t\n")
    for hidden in (b"alice", SECRET.encode(), b"lab"):
        assert hidden not in record


# -- what is not right -------------------------------------------------------------------------------------------

GARBAGE = [
    b"", b"\n", b"1", b"1\n{", b"x\n{}", b"1\n{}", b'-3\n{"password":"hunter2"}', b'1\n{"password":7}',
    b'1\n{"password":null,"x":"hunter2"}', b'1\n{"password":"hunter2","labels":[1]}',
    b'1\n{"password":"hunter2","key":"hunter2"}', b'1\n{"password":"hunter2","key":{"type":"hunter2"}}',
    b'1\n{"password":"hunter2","password2":["hunter2"]}', b'1\n{"password":"hunter2\xff"}',
    b'1\n{"password":"hunter2"', b'1\n{"password":"hunter2"}}', b'99999\n{"password":"hunter2"}',
    b'0\n{"password":"hunter2","max_sessions":"hunter2"}', b"1" * 5000 + b'\n{"password":"hunter2"}',
    b'1\n{"hunter2":' + b"[" * 200_000, b'1\n{"password":NaN}', b'1\n\xff\xfe{"password":"hunter2"}',
]  # fmt: skip


@pytest.mark.parametrize("record", GARBAGE, ids=lambda record: repr(record[:40]))
@pytest.mark.parametrize("seal", [None, SEAL], ids=["plain", "sealed"])
def test_garbage_is_named_without_being_quoted(seal, record):
    with pytest.raises((ProtocolMismatch, SealError), match=r"'a' in pool 'lab'|lab/a") as caught:
        decode("a", record, seal, "lab", Account)
    printed = "".join(traceback.format_exception(caught.value, chain=True))
    assert "hunter2" not in printed


@given(record=st.binary(max_size=100))
@settings(max_examples=200, deadline=None)
def test_no_bytes_at_all_raise_anything_but_our_own_errors(record):
    for given_seal in (None, SEAL):
        try:
            decode("a", record, given_seal, "lab", Account)
        except (ProtocolMismatch, SealError):
            pass
        else:
            pytest.fail("random bytes are no account")


def test_a_sealed_record_without_a_key_says_what_to_give():
    with pytest.raises(
        SealError, match=r"'a' in pool 'lab' is sealed; give the pool its cipher=, or set REDISPOOL_KEY"
    ):
        decode("a", encode(Account("a", SECRET), SEAL, "lab"), None, "lab", Account)


def test_a_record_that_was_moved_to_another_name_or_pool_does_not_open():
    record = encode(Account("a", SECRET), SEAL, "lab")
    for name, pool in (("b", "lab"), ("a", "other")):
        with pytest.raises(SealError, match="somebody moved it"):
            decode(name, record, SEAL, pool, Account)


def test_a_tampered_record_does_not_open():
    record = bytearray(encode(Account("a", SECRET), SEAL, "lab"))
    record[30] ^= 1
    with pytest.raises(SealError, match="does not open"):
        decode("a", bytes(record), SEAL, "lab", Account)


def test_a_pool_with_a_key_still_reads_what_was_written_before_it_had_one():
    assert decode("a", encode(Account("a", SECRET), None, "lab"), SEAL, "lab", Account).password == SECRET


# -- what is remembered of it ------------------------------------------------------------------------------------


def test_each_who_reads_a_record_has_an_account_of_his_own():
    record = encode(Account("a1", SECRET), None, "lab")
    first, second = (decode("a1", record, None, "lab", Account) for _ in range(2))
    first.labels["site"] = "x"
    second.labels["site"] = "y"
    first.password = "other"
    third = decode("a1", record, None, "lab", Account)
    assert (second.password, third.password, third.labels) == (SECRET, SECRET, {})


def test_a_record_is_another_accounts_under_another_name():
    record = encode(Account("a1", SECRET), None, "lab")
    assert [decode(name, record, None, "lab", Account).name for name in ("a1", "a2", "a1")] == ["a1", "a2", "a1"]


def test_what_was_sealed_is_remembered_by_nobody(monkeypatch):
    monkeypatch.setattr(records, "_remembered", {})
    there_and_back(Account("a1", SECRET), SEAL)
    assert records._remembered == {}
    there_and_back(Account("a1", SECRET))
    assert len(records._remembered) == 1, "as it is where it stands in the clear anyway"


def test_no_more_is_remembered_than_a_process_can_bear():
    for number in range(3 * records._REMEMBERED):
        there_and_back(Account(f"a{number}", SECRET))
    assert 0 < len(records._remembered) <= records._REMEMBERED
    there_and_back(Account("large", "x" * 100_000))
    assert max(len(record) for _, record in records._remembered) <= records._LONGEST_REMEMBERED
