"""Host rules as data: what they match, what they refuse, and that none of them can hang a worker."""

from __future__ import annotations

import ipaddress
import re
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redispool.errors import ConfigError
from redispool.hosts import HostIdentity, identify
from redispool.protocol import rules as rules_module
from redispool.protocol.routes import Route, decode_route, encode_route
from redispool.protocol.rules import Glob, Network, Regex, rules_of

LONG_NAME = "a" * 253


def holds(match, host) -> bool:
    return any(rule.matches(identify(host)) for rule in rules_of(match))


# -- what matches --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "host", "expected"),
    [
        ("lab-*", "lab-1", True),
        ("lab-*", "prod-lab-1", False),
        ("LAB-*", "lab-1", True),
        ("lab-*", "LAB-1", True),
        ("r[0-9]", "r5", True),
        ("r[!0-9]", "r5", False),
        ("r?", "r10", False),
        ("[[]x]", "[x]", True),
        ("*.bücher.example", "R1.BÜCHER.example", True),
    ],
)
def test_a_glob_matches_the_whole_name_in_any_case(glob, host, expected):
    assert holds(glob, host) is expected


@pytest.mark.parametrize(
    ("regex", "host", "expected"),
    [
        (re.compile(r"lab-\d+"), "my-lab-12.example", True),
        (re.compile(r"^lab-\d+$"), "my-lab-12", False),
        (re.compile("^LAB"), "lab-1", False),
        (re.compile("^LAB", re.IGNORECASE), "lab-1", True),
        (re.compile("(?i)^LAB"), "lab-1", True),
        (re.compile("ü+"), "bücher", True),
    ],
)
def test_a_regular_expression_is_searched_for_in_the_name(regex, host, expected):
    assert holds(regex, host) is expected


@pytest.mark.parametrize(
    ("network", "host", "expected"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "localhost", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "2001:db8::1", False),
        ("2001:db8::/32", "[2001:db8::1]", True),
        ("2001:db8::/32", "10.1.2.3", False),
        ("fe80::/10", "fe80::1%eth0", True),
    ],
)
def test_a_network_matches_an_address_and_looks_no_name_up(network, host, expected):
    assert holds(ipaddress.ip_network(network), host) is expected


def test_of_a_sequence_any_rule_may_hold():
    match = ["lab-*", re.compile("^test"), ipaddress.ip_network("10.0.0.0/8")]
    assert [holds(match, host) for host in ("lab-1", "test", "10.0.0.1", "prod")] == [True, True, True, False]


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*"ab1-.^$|", "[a-c]", "[^a]", r"\d", r"\w", r"\b", "a+", "b*", "(ab)?", "a{1,3}", "(?:1|b)+?"]
        ),
        max_size=8,
    ),
    st.text("abc1-.", max_size=8),
)
def test_a_regular_expression_means_here_what_it_means_to_python(pieces, host):
    pattern = "".join(pieces)
    try:
        compiled = re.compile(pattern)
        rule = rules_of(compiled)[0]
    except (re.error, ConfigError):
        return  # one of the engines does not know it, and says so
    assert rule.matches(HostIdentity(host, None)) is (compiled.search(host) is not None)


# -- hosts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "name", "address"),
    [
        ("r1", "r1", None),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        (SimpleNamespace(get_name=lambda: "r1", get_address=lambda: "10.0.0.1"), "r1", "10.0.0.1"),
        (SimpleNamespace(get_address=lambda: "10.0.0.1"), "10.0.0.1", "10.0.0.1"),
        (SimpleNamespace(name="r1", hostname="10.0.0.1"), "r1", "10.0.0.1"),
        (SimpleNamespace(hostname="r1"), "r1", None),
    ],
)
def test_a_host_is_a_string_or_anything_with_a_name_or_an_address(host, name, address):
    assert identify(host) == HostIdentity(name, None if address is None else ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host", [None, "", 42, SimpleNamespace(), SimpleNamespace(name=5), SimpleNamespace(get_name=lambda: None)]
)
def test_what_is_no_host_is_refused(host):
    with pytest.raises(ConfigError, match="a host is a string"):
        identify(host)


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        (42, "not int"),
        (b"lab-*", "sequence|not int"),
        ([], "1 to 100"),
        (["a"] * 101, "1 to 100"),
        (["a", print], "not builtin_function"),
        ([["a"]], "not list"),
        (ipaddress.ip_address("10.0.0.1"), "not IPv4Address"),
        ("", "empty"),
        ("a" * 1001, "1000 are allowed"),
        ("a\n*", "must not contain"),
        ("lab-[12", "without its"),
        ("10.0.0.0/8", r"ip_network\('10.0.0.0/8'\)"),
        (re.compile(b"lab"), "bytes"),
        (re.compile("a b", re.VERBOSE), "VERBOSE"),
        (re.compile("a", re.MULTILINE | re.IGNORECASE), "MULTILINE"),
        (re.compile(r"(a)\1"), "no backreferences"),
        (re.compile("(?=a)b"), "no lookaround"),
        (re.compile("a{,3}"), "{0,n}"),
        (re.compile("(((a{30}){30}){30})"), "cannot be a routing rule"),
        (re.compile("a" * 1001), "1000 are allowed"),
    ],
)
@pytest.mark.filterwarnings("ignore:Possible nested set")
def test_what_is_no_rule_is_refused_with_its_reason(match, reason):
    with pytest.raises(ConfigError, match=reason):
        rules_of(match)


def test_an_expression_that_python_and_re2_read_differently_is_refused():
    with pytest.warns(FutureWarning):
        compiled = re.compile("[[:alpha:]]")
    with pytest.raises(ConfigError, match="different things"):
        rules_of(compiled)


@pytest.mark.parametrize("module", [None, SimpleNamespace(compile=re.compile)], ids=["none", "another package's"])
def test_without_re2_a_regular_expression_is_refused_and_everything_else_works(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "re2", module)
    rules_module._linear.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'redispool\[regex\]'"):
        rules_of(re.compile("lab"))
    assert holds("lab-*", "lab-1")


# -- what cannot hang ----------------------------------------------------------------------------------------------

HOSTILE = [
    "(a+)+$",
    "(a|aa)+$",
    "((a*)*)*b",
    "(a|a?)+b",
    "(.*)*b",
    "(x+x+)+y",
    "(?:a|aa|aaa){200}b",
    "(a?){300}a{300}b",
    ".*" * 200 + "b",
    "(" * 100 + "a*" + ")*" * 100 + "b",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pattern", HOSTILE)
def test_an_expression_made_to_hang_backtracking_engines_answers(pattern):
    assert Regex(pattern).matches(HostIdentity(LONG_NAME + "!", None)) is False


@pytest.mark.timeout(60)
@settings(deadline=None)
@given(st.lists(st.sampled_from(["(", ")*", ")+", ")?", "){2,9}", "a", "a*", "a+", "|", ".*", "aa"]), max_size=30))
def test_whatever_expression_is_accepted_answers(pieces):
    with suppress(ConfigError):  # it is refused, and that is an answer
        Regex("".join(pieces) + "b$").matches(HostIdentity(LONG_NAME, None))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("glob", ["*a" * 120 + "b", "*" * 500 + "b", "*[a-z]" * 120 + "?b"])
def test_a_glob_made_to_hang_answers(glob):
    assert Glob(glob).matches(HostIdentity(LONG_NAME, None)) is False


# -- as data -------------------------------------------------------------------------------------------------------


def test_a_route_is_legible_json_and_reads_back_as_it_was():
    network = ipaddress.ip_network("10.0.0.0/8")
    route = Route("lab ü", (Glob("lab-*"), Regex("^x", ignore_case=True), Regex("y"), Network(network)))
    text = encode_route(route)
    assert text == (
        '{"match":[{"glob":"lab-*"},{"ignore_case":true,"regex":"^x"},{"regex":"y"},{"network":"10.0.0.0/8"}],'
        '"pool":"lab ü"}'
    )
    assert decode_route(text.encode()) == route


def test_an_operator_may_write_a_route_with_spaces_and_in_another_order():
    assert decode_route(b'{"pool": "lab", "match": [{"glob": "x"}]}') == Route("lab", (Glob("x"),))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"lab-*",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"[]",
        b"{}",
        b'{"pool":"lab"}',
        b'{"pool":"lab","match":[]}',
        b'{"pool":"lab","match":"lab-*"}',
        b'{"pool":"","match":[{"glob":"x"}]}',
        b'{"pool":"a{b","match":[{"glob":"x"}]}',
        b'{"pool":7,"match":[{"glob":"x"}]}',
        b'{"pool":"lab","match":[{"glob":"x"}],"unless":[]}',
        b'{"pool":"lab","match":[{"glob":"x","regex":"y"}]}',
        b'{"pool":"lab","match":[{"glob":7}]}',
        b'{"pool":"lab","match":[{"glob":"\\ud800"}]}',
        b'{"pool":"lab","match":[{"regex":"x","ignore_case":1}]}',
        b'{"pool":"lab","match":[{"network":"10.0.0.1/8"}]}',
        b'{"pool":"lab","match":[{"network":7}]}',
        b'{"pool":"lab","match":[{"pickle":"x"}]}',
        b'{"pool":"lab","match":[' + b",".join([b'{"glob":"x"}'] * 101) + b"]}",
        b'{"pool":"lab","match":[{"glob":"x"}]}' + b" " * 300_000,
    ],
)
def test_a_text_that_is_not_understood_to_the_last_word_is_no_route(text):
    with pytest.raises(ValueError):
        decode_route(text)
