"""What a caller may pass, and what is said to him about the rest: before anything is sent."""

from __future__ import annotations

import enum
from decimal import Decimal
from fractions import Fraction

import pytest
import redis

from redispool import Account, AccountPool, ConfigError
from redispool.arguments import (
    MAX_SESSIONS,
    check_account_name,
    check_namespace,
    check_pool_name,
    check_seconds,
    check_text,
    check_ttl,
    check_whole,
)
from tests.conftest import shown

CONTROL = [chr(code) for code in [*range(0x20), *range(0x7F, 0xA0)]]
NO_NAME = [None, 7, b"bytes", ["list"], 1.5, True, object()]
NO_SECONDS = [None, "1", b"1", True, False, [1], 1j, Decimal(1), Fraction(1)]
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]
TOO_MUCH = [-1, -0.001, 1e300, 10**400, -(10**400), 10 * 365 * 86400 + 1]

checks_of_names = pytest.mark.parametrize(
    ("check", "most"), [(check_pool_name, 200), (check_namespace, 200), (check_account_name, 512)]
)


# -- names -------------------------------------------------------------------------------------------------------


@checks_of_names
@pytest.mark.parametrize(
    "name", ["a", "lab 1", "a:b:c", "*?[x]", "Ünïcödé", "名前", "\N{PILE OF POO}", "a\u2028b", "-"]
)
def test_names_may_be_of_any_unicode_spaces_and_colons(check, most, name):
    assert check(name) == name


@checks_of_names
def test_a_name_may_have_so_many_bytes_and_not_one_more(check, most):
    assert check("x" * most)
    assert check("ä" * (most // 2))
    for over_long in ("x" * (most + 1), "ä" * (most // 2 + 1), "x" * 1_000_000):
        with pytest.raises(ConfigError, match=rf"bytes long; {most} are allowed"):
            check(over_long)


@checks_of_names
def test_an_empty_name_is_refused(check, most):
    with pytest.raises(ConfigError, match="must not be empty"):
        check("")


@checks_of_names
@pytest.mark.parametrize("name", NO_NAME, ids=shown)
def test_what_is_no_string_is_no_name(check, most, name):
    with pytest.raises(ConfigError, match=f"must be a string, not {type(name).__name__}"):
        check(name)


@checks_of_names
@pytest.mark.parametrize("character", CONTROL, ids=ascii)
def test_a_control_character_is_refused_wherever_it_stands(check, most, character):
    for name in (character, f"a{character}", f"{character}a", f"a{character}a"):
        with pytest.raises(ConfigError, match="must not contain"):
            check(name)


@checks_of_names
def test_a_lone_surrogate_is_no_unicode(check, most):
    with pytest.raises(ConfigError, match="lone surrogate"):
        check("a\ud800")


@pytest.mark.parametrize("name", ["{", "}", "a{b}c", "{lab}", "}{"])
def test_braces_delimit_the_clusters_hash_tag_and_are_refused_in_pools_but_not_in_accounts(name):
    for check in (check_pool_name, check_namespace):
        with pytest.raises(ConfigError, match="must not contain"):
            check(name)
    assert check_account_name(name) == name


# -- times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 0.0, 1, 0.5, 60, 10 * 365 * 86400])
def test_a_time_is_a_number_of_seconds(seconds):
    assert check_seconds("timeout", seconds) == seconds


@pytest.mark.parametrize("value", NO_SECONDS, ids=shown)
def test_what_is_no_number_is_no_time(value):
    with pytest.raises(ConfigError, match=f"timeout must be a number of seconds, not {type(value).__name__}"):
        check_seconds("timeout", value)


@pytest.mark.parametrize("value", NOT_FINITE + TOO_MUCH, ids=lambda value: repr(value)[:20])
def test_a_time_is_finite_and_not_negative(value):
    with pytest.raises(ConfigError, match="timeout must be a time from 0 to"):
        check_seconds("timeout", value)


@pytest.mark.parametrize("value", [0, 0.0, 0.049, 0.0499999, -1, float("nan")])
def test_a_ttl_has_50_milliseconds_at_least(value):
    with pytest.raises(ConfigError, match=r"ttl must be a time from 0\.05 to"):
        check_ttl(value)


def test_a_ttl_of_50_milliseconds_is_one():
    assert check_ttl(0.05) == 0.05


# -- the rest ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, MAX_SESSIONS + 1, 1.0, "1", None, True, float("nan")], ids=shown)
def test_a_whole_number_is_one_and_within_its_bounds(value):
    with pytest.raises(ConfigError, match=f"max_sessions must be a whole number from 1 to {MAX_SESSIONS}"):
        check_whole("max_sessions", value, 1, MAX_SESSIONS)


class Size(int, enum.Enum):
    LARGE = 3


def test_a_whole_number_may_be_a_member_of_an_enumeration(make_pool):
    assert str(check_whole("max_sessions", Size.LARGE, 1, MAX_SESSIONS)) == "3"
    pool = make_pool([Account("a1", max_sessions=Size.LARGE), Account("a2"), Account("a3")])
    assert pool.status().free == 5
    assert len(pool.acquire_accounts(Size.LARGE, "me")) == 3


@pytest.mark.parametrize("secret", [b"hunter2", ["hunter2"], {"hunter2": 1}])
def test_a_secret_of_the_wrong_type_is_not_quoted(secret):
    with pytest.raises(ConfigError) as caught:
        check_text("the password", secret)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "x" * 513}, {"name": "a\nb"}, {"name": None}, {"name": 7},
        {"password": b"x"}, {"password2": 7}, {"max_sessions": 0}, {"max_sessions": 1.5}, {"max_sessions": True},
        {"labels": ["a"]}, {"labels": {"a": 1}}, {"labels": {1: "a"}}, {"labels": "a"},
    ],
    ids=shown,
)  # fmt: skip
def test_an_account_of_nonsense_is_refused(arguments):
    with pytest.raises(ConfigError):
        Account(**{"name": "a", **arguments})


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""}, {"name": "a{b}"}, {"name": "a\0"}, {"name": 7}, {"name": "x" * 201}, {"namespace": ""},
        {"namespace": "{"}, {"namespace": None}, {"ttl": 0}, {"ttl": 0.049}, {"ttl": -1}, {"ttl": float("nan")},
        {"ttl": float("inf")}, {"ttl": "60"}, {"ttl": True}, {"ttl": None}, {"max_lease": 0}, {"max_lease": "1"},
        {"patience": -1}, {"patience": None}, {"cipher": "no key"}, {"redis": "http://x"}, {"redis": 7},
    ],
    ids=shown,
)  # fmt: skip
def test_a_pool_of_nonsense_is_refused_before_any_server_is_asked(options):
    nobody_listens = "redis://127.0.0.1:1/0"
    with pytest.raises(ConfigError):
        AccountPool([Account("a")], **{"name": "lab", "redis": nobody_listens, **options})


@pytest.mark.parametrize(
    ("account", "options"),
    [
        (None, {"timeout": -1}), (None, {"timeout": float("nan")}), (None, {"timeout": "1"}), (None, {"timeout": True}),
        (None, {"ttl": 0}), (None, {"ttl": 0.049}), (None, {"ttl": "1"}), (None, {"priority": 1.5}),
        (None, {"priority": 1001}), (None, {"priority": True}), (None, {"owner": ""}), (None, {"owner": "a\nb"}),
        (None, {"owner": "x" * 1025}), ("", {}), ("a\nb", {}), (7, {}), (b"a", {}),
    ],
    ids=shown,
)  # fmt: skip
def test_an_acquisition_of_nonsense_is_refused_before_any_server_is_asked(account, options):
    pool = AccountPool(name="lab", redis="redis://127.0.0.1:1/0")
    with pytest.raises(ConfigError):
        pool.acquire_account(account, **options)


def test_a_server_that_cannot_be_reached_is_redis_pys_error_and_comes_at_once():
    pool = AccountPool(name="lab", redis="redis://127.0.0.1:1/0")
    with pytest.raises(redis.ConnectionError):
        pool.acquire_account()


@pytest.mark.parametrize("accounts", ["alice", 7, ["alice"], [Account("a"), None], {"a": 1}, object()], ids=shown)
def test_only_accounts_can_be_added(accounts):
    pool = AccountPool(name="lab", redis="redis://127.0.0.1:1/0")
    with pytest.raises(ConfigError, match="an Account"):
        pool.add_account(accounts)
