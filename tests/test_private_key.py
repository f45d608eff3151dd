"""Private keys: recognised, sealed into their accounts, and loaded on the host that acquires one."""

from __future__ import annotations

import copy
import pickle
import socket
import subprocess
import sys
import threading

import paramiko
import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from redispool import Account, ConfigError, PrivateKey

PASSWORD = "opens the key ä"
KEYS = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ecdsa": ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
FORMATS = {
    "traditional": forms.PrivateFormat.TraditionalOpenSSL,
    "pkcs8": forms.PrivateFormat.PKCS8,
    "openssh": forms.PrivateFormat.OpenSSH,
}
CASES = [(kind, form) for kind in KEYS for form in FORMATS if (kind, form) != ("ed25519", "traditional")]


def key_text(kind: str, form: str, password: str = "") -> str:
    sealing = forms.BestAvailableEncryption(password.encode()) if password else forms.NoEncryption()
    return KEYS[kind].private_bytes(forms.Encoding.PEM, FORMATS[form], sealing).decode()


@pytest.fixture
def key_file(tmp_path):
    def write(text: str | bytes, name: str = "id_test"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(("kind", "form"), CASES)
@pytest.mark.parametrize("password", ["", PASSWORD])
def test_a_file_tells_the_type_of_its_key_and_paramiko_loads_it(key_file, kind, form, password):
    text = key_text(kind, form, password)
    path = key_file(text)
    key = PrivateKey.from_file(str(path), password)
    assert (key.get_type(), key.get_filename(), key.get_password(), key.get_text()) == (kind, str(path), password, text)
    loaded = key.for_paramiko()
    raw = (forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
    assert f"{loaded.get_name()} {loaded.get_base64()}".encode() == KEYS[kind].public_key().public_bytes(*raw)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
@pytest.mark.parametrize("password", ["", "opens the key"])
def test_what_ssh_keygen_writes_is_read(tmp_path, kind, password):
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", password, "-f", path], check=True)
    key = PrivateKey.from_file(path, password)
    assert key.get_type() == kind
    public = path.with_suffix(".pub").read_text().split()[1]
    assert key.for_paramiko().get_base64() == public


def test_a_dss_key_is_known_and_paramiko_refuses_it_clearly():
    key = dsa.generate_private_key(1024)
    text = key.private_bytes(forms.Encoding.PEM, FORMATS["traditional"], forms.NoEncryption()).decode()
    ours = PrivateKey.from_string(text)
    assert ours.get_type() == "dss"
    if not hasattr(paramiko, "DSSKey"):
        with pytest.raises(ConfigError, match="knows no keys of type 'dss'"):
            ours.for_paramiko()


def test_a_string_gives_the_same_key_as_the_file_but_for_the_name():
    text = key_text("rsa", "pkcs8")
    key = PrivateKey.from_string(text)
    assert (key.get_type(), key.get_filename(), key.get_text()) == ("rsa", None, text)
    assert key == PrivateKey.from_string(text)
    assert key != PrivateKey.from_string(key_text("ecdsa", "openssh"))
    assert len({key, copy.deepcopy(key), pickle.loads(pickle.dumps(key))}) == 1


@pytest.mark.parametrize(("kind", "form"), CASES)
def test_a_wrong_password_is_told_and_not_repeated(key_file, kind, form):
    path = key_file(key_text(kind, form, PASSWORD))
    with pytest.raises(ConfigError) as caught:
        PrivateKey.from_file(path, "a wrong guess")
    assert str(path) in str(caught.value)
    assert "password" in str(caught.value)
    assert "a wrong guess" not in str(caught.value)
    with pytest.raises(ConfigError, match="encrypted; give its password"):
        PrivateKey.from_file(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no private key"),
        (b"\xff\xfe\x00secret", "no private key"),
        (b"just a secret note", "no private key"),
        (b"ssh-ed25519 AAAAsecret me@here", "public key"),
        (b"PuTTY-User-Key-File-3: secret", "puttygen"),
        (b"-----BEGIN CERTIFICATE-----\nsecret\n-----END CERTIFICATE-----\n", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\n!secret!\n-----END PRIVATE KEY-----\n", "base64"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\n", "damaged"),
        (b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "unknown type"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n", "damaged"),
        (
            b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA/////w==\n-----END OPENSSH PRIVATE KEY-----\n",
            "early",
        ),
        (b"secret" * 20_000, "more than"),
    ],
)
def test_a_file_that_is_no_private_key_is_refused_and_not_quoted(key_file, content, complaint):
    path = key_file(content)
    with pytest.raises(ConfigError, match=complaint) as caught:
        PrivateKey.from_file(path)
    shown = f"{caught.value} {caught.value.__context__!r}"
    assert str(path) in str(caught.value)
    assert "secret" not in shown.replace(str(path), "")


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"missing.*No such file"):
        PrivateKey.from_file(tmp_path / "missing")
    with pytest.raises(ConfigError, match="Is a directory"):
        PrivateKey.from_file(tmp_path)


def test_a_given_type_is_checked_against_the_file(key_file):
    path = key_file(key_text("rsa", "openssh"))
    assert PrivateKey.from_file(path, keytype="rsa").get_type() == "rsa"
    with pytest.raises(ConfigError, match="type 'rsa', not 'ecdsa'"):
        PrivateKey.from_file(path, keytype="ecdsa")
    with pytest.raises(ConfigError, match="unknown type of key 'dsa2'"):
        PrivateKey.from_file(path, keytype="dsa2")
    with pytest.raises(ConfigError, match="must be a string"):
        PrivateKey.from_file(path, password=b"x")


def test_a_key_made_in_the_heritages_manner_reads_its_file_when_it_is_needed(key_file):
    key = PrivateKey("ecdsa")
    assert (key.get_filename(), key.get_text(), key.get_password()) == (None, None, "")
    key.set_filename(str(key_file(key_text("ecdsa", "openssh", PASSWORD))))
    key.set_password(PASSWORD)
    assert key.for_paramiko().get_name() == "ecdsa-sha2-nistp256"
    key.set_filename("/does/not/exist")
    with pytest.raises(ConfigError, match="/does/not/exist"):
        key.get_text()
    with pytest.raises(ConfigError, match="has no text"):
        PrivateKey().for_paramiko()


def test_no_secret_shows_in_a_key(key_file):
    text = key_text("rsa", "openssh", PASSWORD)
    key = PrivateKey.from_file(key_file(text), PASSWORD)
    account = Account("a1", key=key)
    for shown in (repr(key), str(key), repr(account), f"{[key]}"):
        assert PASSWORD not in shown
        assert text[60:90] not in shown


WITHOUT = """
import sys
for name in ("paramiko", "cryptography"):
    sys.modules[name] = None
from redispool import ConfigError, PrivateKey
for line in sys.stdin.read().split("\\0"):
    print(PrivateKey.from_string(line, "opens the key", None if "BEGIN ENCRYPTED" not in line else "rsa").get_type())
try:
    PrivateKey.from_string(line).for_paramiko()
except ConfigError as error:
    print(error)
"""


def test_the_type_is_told_without_paramiko_and_cryptography():
    texts = [key_text(*case) for case in CASES] + [key_text("rsa", form, PASSWORD) for form in FORMATS]
    texts.append(key_text("ed25519", "openssh"))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], input="\0".join(texts), capture_output=True, text=True, check=True
    )
    *types, complaint = done.stdout.splitlines()
    assert types == [kind for kind, _ in CASES] + ["rsa"] * 3 + ["ed25519"]
    assert "pip install 'redispool[paramiko]'" in complaint


@pytest.mark.parametrize("cipher", [None, Fernet.generate_key()], ids=["unsealed", "sealed"])
def test_the_keys_text_travels_with_its_account_sealed_like_a_password(make_pool, client, pool_name, key_file, cipher):
    path = key_file(key_text("ed25519", "openssh", PASSWORD))
    key = PrivateKey.from_file(path, PASSWORD)
    make_pool([Account("a1", key=key)], cipher=cipher)
    path.unlink()  # on another host there is none
    with make_pool(cipher=cipher).lease() as account:
        assert account.get_key() == key
        assert account.get_key().get_filename() == str(path)
        assert account.get_key().for_paramiko().get_name() == "ssh-ed25519"
    record = client.hget(f"redispool:{{{pool_name}}}:accounts", "a1")
    assert (b"OPENSSH" in record) is (cipher is None)


class _Gate(paramiko.ServerInterface):
    """Lets in whoever has the one key."""

    def __init__(self, public: str) -> None:
        self.public = public

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        fits = username == "a1" and key.get_base64() == self.public
        return paramiko.AUTH_SUCCESSFUL if fits else paramiko.AUTH_FAILED


@pytest.mark.parametrize(("kind", "form"), [("rsa", "pkcs8"), ("ecdsa", "traditional"), ("ed25519", "openssh")])
def test_an_acquired_account_logs_in_with_its_key(make_pool, kind, form):
    key = PrivateKey.from_string(key_text(kind, form, PASSWORD), PASSWORD)
    pool = make_pool([Account("a1", key=key)])
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            transport = paramiko.Transport(connection)
            transport.add_server_key(paramiko.RSAKey.generate(2048))
            transport.start_server(server=_Gate(key.for_paramiko().get_base64()), event=threading.Event())

        threading.Thread(target=serve, daemon=True).start()
        with pool.lease() as account, paramiko.Transport(listener.getsockname()) as transport:
            transport.connect(username=account.get_name(), pkey=account.get_key().for_paramiko())
            assert transport.is_authenticated()
