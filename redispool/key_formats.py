"""The text forms of private keys: which type one is of, and whether it is encrypted, told without any library.

What must be decrypted to be seen is left to the cryptography package, where that is installed.
"""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

KEY_TYPES = ("rsa", "dss", "ecdsa", "ed25519")
MAX_KEY = 64 * 1024  # bytes; an RSA key of 16384 bits has 13,000

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{0,20}PRIVATE KEY)-----\s(.*?)-----END \1-----", re.DOTALL)
_PEM_TYPES = {"RSA PRIVATE KEY": "rsa", "DSA PRIVATE KEY": "dss", "EC PRIVATE KEY": "ecdsa"}
_OPENSSH_MAGIC = b"openssh-key-v1\0"
_OPENSSH_TYPES = {b"ssh-rsa": "rsa", b"ssh-dss": "dss", b"ssh-ed25519": "ed25519"}
_OBJECT_IDS = {  # DER, as they stand near the front of PKCS #8
    bytes.fromhex("06092a864886f70d010101"): "rsa",
    bytes.fromhex("06072a8648ce380401"): "dss",
    bytes.fromhex("06072a8648ce3d0201"): "ecdsa",
    bytes.fromhex("06032b6570"): "ed25519",
}
_PKCS8_FRONT = 32  # bytes within which its object id stands


class NotAKey(Exception):  # noqa: N818 - it never leaves PrivateKey, which says where the text is from
    """The text is no private key that can be used; the message says why, and quotes nothing."""


class NotSupported(NotAKey):
    """It may be a key; the libraries installed here cannot tell."""


@dataclass(frozen=True, slots=True)
class KeyForm:
    """What a key's text tells of it; `keytype` is None where encryption hides it."""

    keytype: str | None
    encrypted: bool


def describe(text: str, password: str = "") -> KeyForm:
    """What the text tells of the key; with the password and the cryptography package, also of a hidden type.

    Raises:
        NotAKey: it is no private key, or one of an unknown type.
    """
    if len(text) > MAX_KEY:
        raise NotAKey(f"it has more than {MAX_KEY} bytes, so it is no private key")
    block = _BLOCK.search(text)
    if block is None:
        raise NotAKey(_what_else(text))
    label, body = block[1], block[2]
    if label == "OPENSSH PRIVATE KEY":
        return _openssh(_decoded(body))
    if label in _PEM_TYPES:
        return KeyForm(_PEM_TYPES[label], "Proc-Type: 4,ENCRYPTED" in body)
    if label == "PRIVATE KEY":
        front = _decoded(body)[:_PKCS8_FRONT]
        return KeyForm(_known(next((kind for oid, kind in _OBJECT_IDS.items() if oid in front), None)), encrypted=False)
    if label == "ENCRYPTED PRIVATE KEY":
        return KeyForm(_hidden_type(text, password), encrypted=True)
    raise NotAKey(_what_else(""))


def _what_else(text: str) -> str:
    """Why a text without a private key is none."""
    start = text.lstrip()[:40]
    if start.startswith("PuTTY-User-Key-File"):
        return "it is a PuTTY key; convert it with: puttygen KEY -O private-openssh"
    if start.startswith(("ssh-", "ecdsa-", "sk-", "---- BEGIN SSH2 PUBLIC", "-----BEGIN PUBLIC")):
        return "it is a public key; the private one is needed"
    return "it holds no private key in PEM or OpenSSH format"


def _decoded(body: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise NotAKey("its base64 is damaged") from None


def _known(keytype: str | None) -> str:
    if keytype is None:
        raise NotAKey(f"it is a key of an unknown type; known are {', '.join(KEY_TYPES)}")
    return keytype


def _openssh(blob: bytes) -> KeyForm:
    if not blob.startswith(_OPENSSH_MAGIC):
        raise NotAKey("it is damaged: it does not begin as an OpenSSH key does")
    cipher, rest = _string(blob[len(_OPENSSH_MAGIC) :])
    _kdf, rest = _string(rest)
    _options, rest = _string(rest)
    public, _ = _string(rest[4:])  # after the number of keys
    name, _ = _string(public)
    if name.startswith(b"sk-"):
        raise NotAKey("it needs its hardware token, so it cannot be shared")
    keytype = "ecdsa" if name.startswith(b"ecdsa-sha2-") else _OPENSSH_TYPES.get(name)
    return KeyForm(_known(keytype), cipher != b"none")


def _string(data: bytes) -> tuple[bytes, bytes]:
    """The string that the data begins with, and what follows."""
    end = 4 + int.from_bytes(data[:4], "big")
    if end > len(data):
        raise NotAKey("it is damaged: it ends too early")
    return data[4:end], data[end:]


def _hidden_type(text: str, password: str) -> str | None:
    try:
        from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    kinds = {
        "rsa": rsa.RSAPrivateKey, "dss": dsa.DSAPrivateKey, "ecdsa": ec.EllipticCurvePrivateKey,
        "ed25519": ed25519.Ed25519PrivateKey,
    }  # fmt: skip
    try:
        key = _load(text, KeyForm(None, encrypted=True), password)
    except NotSupported:
        return None
    return _known(next((name for name, kind in kinds.items() if isinstance(key, kind)), None))


def check_password(text: str, form: KeyForm, password: str) -> None:
    """See whether the password opens the key, as far as that can be told without the cryptography package.

    Raises:
        NotAKey: it does not.
    """
    if form.encrypted and not password:
        raise NotAKey("the key is encrypted; give its password")
    try:
        import cryptography  # noqa: F401, PLC0415 - an extra
    except ImportError:
        return
    with suppress(NotSupported):  # who uses the key may have what is missing here
        _load(text, form, password)


def openssh_text(text: str, password: str) -> str:
    """The key in OpenSSH's format, unencrypted; needs the cryptography package.

    Raises:
        NotAKey: it cannot be read, or the password is wrong.
    """
    from cryptography.hazmat.primitives import serialization as forms  # noqa: PLC0415 - an extra

    key = _load(text, describe(text, password), password)
    plain: bytes = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption())
    return plain.decode()


def _load(text: str, form: KeyForm, password: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    block = _BLOCK.search(text)
    if block is None:
        raise NotAKey(_what_else(text))
    openssh = block[1].startswith("OPENSSH")
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    if form.encrypted and not password:
        raise NotAKey("the key is encrypted; give its password")
    secret = password.encode("utf-8", "surrogatepass") if form.encrypted else None
    try:
        return load(block[0].encode() + b"\n", secret)
    except UnsupportedAlgorithm:
        raise NotSupported("its encryption or its type is not supported by what is installed here") from None
    except (ValueError, TypeError):
        wrong = "the password is wrong, or the key is damaged" if form.encrypted else "it is damaged"
        raise NotAKey(wrong) from None
