"""Accounts from files: what is read, and how a bad line is told."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import warnings

import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ed25519

from redispool import ConfigError, load_accounts

PASSWORD = "s3cr3t"


def base64_of(password: str) -> str:
    return base64.b64encode(password.encode()).decode()


@pytest.fixture
def write(tmp_path):
    def write_file(name: str, content: str | bytes):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.fixture
def key_file(tmp_path):
    (tmp_path / "keys").mkdir()
    path = tmp_path / "keys" / "id"
    sealing = forms.BestAvailableEncryption(b"opens it")
    key = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, sealing))
    return path


def credentials(path):
    return [(a.name, a.password, a.authorization_password, a.max_sessions, a.labels) for a in load_accounts(path)]


SECTIONS = f"""\
# ours
[other]
alice = no base64 at all

[account-pool]
alice = {base64_of("one")}
Bob: {base64_of("two words")}
carol =
   {base64_of("a long one")[:8]}
   {base64_of("a long one")[8:]}
"""


def test_exscripts_sections_are_read_as_exscript_reads_them(write):
    path = write("accounts.cfg", SECTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports what Python is about to drop
        exscript = pytest.importorskip("Exscript.util.file")
    theirs = [(account.name, account.password) for account in exscript.get_accounts_from_file(str(path))]
    assert theirs == [("alice", "one"), ("Bob", "two words"), ("carol", "a long one")]
    assert [(account.name, account.password) for account in load_accounts(path)] == theirs
    assert all(account.needs_lock and account.max_sessions == 1 for account in load_accounts(str(path)))


def test_passwords_beyond_ascii_are_utf_8_or_as_exscript_takes_them_latin_1(write):
    latin = base64.b64encode("pässword".encode("latin-1")).decode()
    path = write("accounts", f"[account-pool]\na = {base64_of('pässword €')}\nb = {latin}\n")
    assert [account.password for account in load_accounts(path)] == ["pässword €", "pässword"]


CSV = """\
name,password,password2,Key file,key_password,max_sessions,labels
alice,one,,,,,
bob, two ,enable,,,3,"region=eu, tier=2"

"carol","with ""quotes"",
and a line",,keys/id,opens it,1,
"""
YAML = """\
accounts:
  - name: alice
    password: one
  - {name: bob, password: ' two ', password2: enable, max_sessions: 3, labels: {region: eu, tier: 2}}
  - name: carol
    password: "with \\"quotes\\",\\nand a line"
    key file: keys/id
    key-password: opens it
    labels: {}
"""


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("name", "content"), [("a.csv", CSV), ("a.txt", CSV), ("a.YML", YAML), ("a", YAML)])
def test_csv_and_yaml_have_the_same_columns(write, key_file, name, content, mark, ending):
    path = write(name, mark + content.replace("\n", ending))
    line = "\n" if name in {"a", "a.YML"} else ending
    assert credentials(path) == [
        ("alice", "one", None, 1, {}),
        ("bob", " two ", "enable", 3, {"region": "eu", "tier": "2"}),
        ("carol", f'with "quotes",{line}and a line', None, 1, {}),
    ]
    key = load_accounts(path)[2].get_key()
    assert (key.get_type(), key.get_filename(), key.get_text()) == ("ed25519", str(key_file), key_file.read_text())


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_delimiters_are_seen_in_the_first_line(write, mark):
    path = write("a.csv", f"password{mark}name{mark}labels\n{PASSWORD}{mark}alice{mark}a=1,b=2\n")
    assert credentials(path) == [("alice", PASSWORD, None, 1, {"a": "1", "b": "2"})]


def test_a_yaml_password_is_what_it_looks_like(write):
    text = "[{name: 007, password: 0123}, {name: no, password: yes}, {name: c, password: 1_0}, {name: d, password: }]"
    found = [(account.name, account.password) for account in load_accounts(write("a.yaml", text))]
    assert found == [("007", "0123"), ("no", "yes"), ("c", "1_0"), ("d", "")]


@pytest.mark.parametrize("name", ["a.json", "accounts"])
def test_json_is_understood_with_characters_that_it_escapes_in_halves(write, name):
    text = json.dumps(
        {"accounts": [{"name": "a", "password": "\N{KEY}/\t", "labels": {"of": "x,y"}}, {"name": "b"}]}, indent=1
    )
    for content in (text, text.replace("/", "\\/")):
        assert credentials(write(name, content)) == [
            ("a", "\N{KEY}/\t", None, 1, {"of": "x,y"}),
            ("b", "", None, 1, {}),
        ]


def test_an_account_of_no_sessions_is_never_locked(write):
    alice, bob = load_accounts(write("a.csv", "name,max_sessions\nalice,0\nbob,\n"))
    assert (alice.needs_lock, bob.needs_lock) == (False, True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "name,password\n"),
        ("a.yaml", "[]"),
        ("a.json", "[]"),
        ("a.yaml", "accounts:"),
        ("a", "[account-pool]\n"),
    ],
)
def test_a_file_may_list_nobody(write, name, content):
    assert load_accounts(write(name, content)) == []


BAD = [
    # file, content, line, complaint
    ("a.csv", "name,password\nalice,s3cr3t\nalice,s3cr3t\n", 3, "'alice' stands in line 2 already"),
    ("a.csv", "name,password\n,s3cr3t\n", 2, "no name"),
    ("a.csv", "alice,s3cr3t\nbob,s3cr3t\n", 1, "must name the columns"),
    ("a.csv", "name,passwort\nalice,s3cr3t\n", 1, "'passwort'.*known are name, password, password2, key_file"),
    ("a.csv", "name,password,Password\nalice,s3cr3t,s3cr3t\n", 1, "twice"),
    ("a.csv", "name,password\nalice,s3cr3t,s3cr3t\n", 2, "3 columns, and the first line names 2"),
    ("a.csv", "name,password\nalice\n", 2, "1 columns, and the first line names 2"),
    ("a.csv", 'name,password\nalice,"s3\n\ncr3t"\nbob,"s3cr3t\n', 5, "quotes"),
    ("a.csv", 'name,password\nalice,"s3cr3t"s3cr3t\n', 2, "quotes"),
    ("a.csv", "name,max_sessions\nalice,-1\n", 2, "max_sessions must be a whole number from 1 to"),
    ("a.csv", "name,max_sessions\nalice,s3cr3t\n", 2, "max_sessions must be"),
    ("a.csv", "name,max_sessions\nalice,²\n", 2, "max_sessions must be"),
    ("a.csv", f"name,max_sessions\nalice,{'9' * 5000}\n", 2, "max_sessions must be"),
    ("a.csv", "name,labels\nalice,s3cr3t\n", 2, "must look like region=eu,tier=2"),
    ("a.csv", 'name,labels\nalice,"a=1,a=2"\n', 2, "a label stands twice"),
    ("a.csv", "name,key file\nalice,missing\n", 2, "missing.*No such file"),
    ("a.csv", "name,key_password\nalice,s3cr3t\n", 2, "no key_file"),
    ("a.csv", b"name,password\n\nalice,\xff\xfes3cr3t\n", 3, "not UTF-8"),
    ("a.csv", "name,password\nal\x00ice,s3cr3t\n", 2, "must not contain"),
    ("a.yaml", "- name: alice\n- name: bob\n  pass: s3cr3t\n", 3, "unknown column; known are name"),
    ("a.yaml", "- name: alice\n  password: s3cr3t\n- password: s3cr3t\n", 3, "no name"),
    ("a.yaml", "- name: alice\n- name: alice\n", 2, "'alice' stands in line 1 already"),
    ("a.yaml", "- name: alice\n  name: s3cr3t\n", 2, "second time"),
    ("a.yaml", "- name: alice\n  max_sessions: s3cr3t\n", 1, "max_sessions"),
    ("a.yaml", "- name: alice\n  password: *s3cr3t\n", 2, "no valid YAML"),
    ("a.yaml", "- name: alice\n  password: %s3cr3t\n", 2, "no valid YAML"),
    ("a.yaml", "- name: alice\n  password: !!python/object/apply:os.system [s3cr3t]\n", 2, "plain value"),
    ("a.yaml", "- name: alice\n  password: !!python/name:s3cr3t.x ''\n", 2, "not allowed"),
    ("a.yaml", "- &a {name: alice}\n- <<: *a\n  name: bob\n", 2, "not allowed"),
    ("a.json", '[{"name": "alice",\n"password": "s3cr3t\\ud800"}]', 2, "half a character"),
    ("a.json", '[{"name": "alice",\n"password": "s3cr3t" "}]', 2, "no valid YAML"),
    ("a.yaml", "- name: alice\n- s3cr3t\n", 2, "mapping is needed"),
    ("a.yaml", "- name: alice\n  labels: s3cr3t\n", 1, "must look like"),
    ("a.yaml", "- name: alice\n  labels: {region: [s3cr3t]}\n", 2, "plain value"),
    ("a.cfg", "[account-pool]\nalice = s3cr3t\n", 2, "not in base64"),
    ("a.cfg", "[x]\nbob = 1\nalice = 1\n[account-pool]\nbob = czNjcjN0\nalice = s3cr3t!\n", 6, "not in base64"),
    ("a.cfg", "[account-pool]\nalice = czNjcjN0\nalice = czNjcjN0\n", 3, "'alice' stands there for the second time"),
    ("a.cfg", "[account-pool]\nalice = czNjcjN0\n\ns3cr3t\n", 4, "form: name = password"),
    ("a.cfg", "alice = czNjcjN0\n[account-pool]\n", 1, "in no section"),
    ("a.cfg", "[account-pool]\n[account-pool]\n", 2, "the section stands there for the second time"),
]


@pytest.mark.parametrize(("name", "content", "line", "complaint"), BAD)
def test_a_bad_line_is_named_and_adds_nothing_and_no_password_is_quoted(write, name, content, line, complaint):
    path = write(name, content)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_accounts(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert "s3cr3t" not in str(caught.value)
    assert "czNjcjN0" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", "", "is empty"),
        ("a", "\ufeff \n", "is empty"),
        ("a", "[others]\nalice = x\n", r"no section \[account-pool\]"),
        ("a.yaml", "users: [s3cr3t]", "a list of accounts is needed"),
        ("a.yaml", "s3cr3t", "a list of accounts is needed"),
        ("a.yaml", "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(write, name, content, complaint):
    path = write(name, content)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_accounts(path)
    assert str(path) in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"missing\.csv: cannot be read: No such file"):
        load_accounts(tmp_path / "missing.csv")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_accounts(str(tmp_path))


def test_without_pyyaml_the_error_says_what_to_install(write):
    path = write("a.yaml", "- name: alice\n")
    code = f"import sys; sys.modules['yaml'] = None; import redispool; redispool.load_accounts({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigError" in done.stderr
    assert "pip install 'redispool[yaml]'" in done.stderr


def test_a_loaded_file_fills_a_pool(make_pool, write):
    pool = make_pool(load_accounts(write("a.csv", "name,password,max_sessions\nalice,one,2\nbob,two,1\n")))
    assert [(account.name, account.max_sessions) for account in pool.accounts] == [("alice", 2), ("bob", 1)]
    assert pool.status().free == 3


def test_a_name_may_begin_with_what_looks_like_the_head_of_a_section(tmp_path):
    file = tmp_path / "accounts.cfg"
    file.write_text("[account-pool]\na1 = eA==\n[a2 = eA==\na3 = eA==\n  [x]\n[other]\nb = c\n")
    with pytest.raises(ConfigError, match="line 4: the password is not in base64"):
        load_accounts(file)
    file.write_text("[account-pool]\na1 = eA==\n[a2 = eA==\na3 = eA==\n[other]\nb = c\n")
    assert [account.name for account in load_accounts(file)] == ["a1", "[a2", "a3"]
