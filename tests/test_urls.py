import ssl

import pytest
from cryptography.hazmat.primitives import serialization

from redispool import ConfigError
from redispool.urls import SCHEMES, parse

from .topologies import issue_certificate


@pytest.mark.parametrize(
    ("url", "host", "port", "settings"),
    [
        ("redis://", "localhost", 6379, {}),
        ("redis://db.example", "db.example", 6379, {}),
        ("REDIS://db_1:7000/3", "db_1", 7000, {"db": 3}),
        ("redis://h?db=4", "h", 6379, {"db": 4}),
        ("redis://[2001:db8::1]:7000/0", "2001:db8::1", 7000, {"db": 0}),
        ("redis://[::1]", "::1", 6379, {}),
        ("redis://:s%40%3A%2F%23%25@h", "h", 6379, {"password": "s@:/#%"}),
        ("redis://ann:p:w@h", "h", 6379, {"username": "ann", "password": "p:w"}),
        ("redis://h?username=ann&password=a%26b", "h", 6379, {"username": "ann", "password": "a&b"}),
        ("redis://h?socket_timeout=0.5&protocol=3", "h", 6379, {"socket_timeout": 0.5, "protocol": 3}),
        ("redis://h?decode_responses=no&client_name=a+b", "h", 6379, {"decode_responses": False, "client_name": "a b"}),
    ],
)
def test_a_server_s_url_says_where_and_how(url, host, port, settings):
    address = parse(url)
    assert (address.kind, address.tls, address.hosts, address.settings) == ("redis", False, ((host, port),), settings)


def test_tls_checks_the_host_s_name_unless_told_otherwise(tmp_path):
    issue_certificate(tmp_path, "ca", None)
    authority = tmp_path / "ca.pem"
    plain = parse(f"rediss://h:7000?ssl_ca_certs={authority}&ssl_min_version=1.3")
    assert plain.tls
    assert plain.settings == {
        "ssl_ca_certs": str(authority),
        "ssl_min_version": ssl.TLSVersion.TLSv1_3,
        "ssl_check_hostname": True,
    }
    assert parse("rediss://h?ssl_check_hostname=false").settings == {"ssl_check_hostname": False}
    assert not parse("rediss://h?ssl_cert_reqs=none").settings["ssl_check_hostname"]


def test_certificates_are_looked_at_before_anything_is_sent_and_never_is_a_password_asked_for(tmp_path):
    """On a terminal, OpenSSL would ask for it, and the program hang."""
    authority = issue_certificate(tmp_path, "ca", None)
    issue_certificate(tmp_path, "client", authority)
    issue_certificate(tmp_path, "other", authority)
    key = serialization.load_pem_private_key((tmp_path / "client.key").read_bytes(), None)
    encrypted = serialization.BestAvailableEncryption(b"sesame")
    pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (tmp_path / "locked.key").write_bytes(key.private_bytes(*pkcs8, encrypted))
    (tmp_path / "junk").write_text("junk")

    def url(**files):
        named = {name: tmp_path / file if "." in file or file == "junk" else file for name, file in files.items()}
        return "rediss://h?" + "&".join(f"ssl_{name}={value}" for name, value in named.items())

    assert parse(url(ca_certs="ca.pem", certfile="client.pem", keyfile="client.key")).tls
    assert parse(url(certfile="client.pem", keyfile="locked.key", password="sesame")).tls
    for wrong, why in (
        (url(ca_certs="junk"), "no certificate in PEM"), (url(certfile="junk", keyfile="client.key"), "no certificate"),
        (url(certfile="client.pem"), "the key that belongs to it"),
        (url(certfile="client.pem", keyfile="other.key"), "the key that belongs to it"),
        (url(certfile="client.pem", keyfile="locked.key"), "ssl_password= is not its password"),
        (url(certfile="client.pem", keyfile="locked.key", password="hunter2"), "ssl_password= is not its password"),
        (url(keyfile="client.key"), "ssl_keyfile= needs ssl_certfile="),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=why) as caught:
            parse(wrong)
        assert "hunter2" not in str(caught.value)


def test_a_unix_socket_is_named_by_its_path():
    address = parse("unix://ann:pw@/run/my%20redis/s.sock?db=2")
    assert (address.kind, address.path) == ("unix", "/run/my redis/s.sock")
    assert address.settings == {"username": "ann", "password": "pw", "db": 2}


def test_a_cluster_has_several_hosts():
    address = parse("rediss+cluster://ann:pw@a:7000,b,[::1]:7001/0?client_name=me")
    assert (address.kind, address.tls) == ("cluster", True)
    assert address.hosts == (("a", 7000), ("b", 6379), ("::1", 7001))
    assert address.settings == {"username": "ann", "password": "pw", "client_name": "me", "ssl_check_hostname": True}


def test_sentinels_have_a_service_and_credentials_of_their_own():
    address = parse("redis+sentinel://ann:pw@a,b:26380/my%20service/2?sentinel_password=other&socket_timeout=2")
    assert (address.kind, address.hosts, address.path) == ("sentinel", (("a", 26379), ("b", 26380)), "my service")
    assert address.settings == {"username": "ann", "password": "pw", "db": 2, "socket_timeout": 2.0}
    assert address.sentinel_settings == {"password": "other", "socket_timeout": 2.0}


@pytest.mark.parametrize(
    ("url", "directory"),
    [
        ("embedded://", ""),
        ("embedded:///var/lib/my accounts", "/var/lib/my accounts"),
        ("embedded:///var/lib/my%20accounts", "/var/lib/my accounts"),
        ("embedded://~/accounts", "~/accounts"),
        ("embedded://some/where@home", "some/where@home"),
        ("embedded://./100%25", "./100%"),
    ],
)
def test_an_embedded_server_is_named_by_its_directory(url, directory):
    assert parse(url).path == directory


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("", "must begin with"),
        ("localhost:6379", "must begin with"),
        ("http://h", "the scheme http:// is unknown"),
        ("redis+unix://h", "is unknown"),
        ("redis://h:port", "a port is a number"),
        ("redis://h:0", "1 to 65535"),
        ("redis://h:65536", "1 to 65535"),
        ("redis://h:", "a port is a number"),
        ("redis://h:٣", "a port is a number"),
        ("redis://my host", "a host is a name"),
        ("redis://::1", "in brackets"),
        ("redis://a,b", "redis\\+cluster://"),
        ("redis://h/zero", "the database is a number"),
        ("redis://h/-1", "the database is a number"),
        ("redis://h/0/1", "the database is a number"),
        ("redis://h/1?db=1", "twice"),
        ("redis://h?db=1&db=2", "twice"),
        ("redis://:a@h?password=b", "twice"),
        ("redis://h?timeout=1", "timeout= is unknown here; there are client_name, db"),
        ("redis://h?retry=3", "retry= is unknown"),
        ("redis://h?socket_timeout=-1", "socket_timeout= must be a number of seconds above 0"),
        ("redis://h?socket_timeout=nan", "above 0"),
        ("redis://h?decode_responses=maybe", "true or false"),
        ("redis://h?protocol=4", "one of 2, 3"),
        ("redis://h?db", "name=value"),
        ("redis://h#0", "must not contain a '#'"),
        ("redis://h\n", "control character"),
        ("redis://h?ssl_ca_certs=/ca.pem", "needs TLS"),
        ("rediss://h?ssl_ca_certs=/no/such/ca.pem", "ssl_ca_certs= must be a file that exists"),
        ("rediss://h?ssl_cert_reqs=never", "one of none, optional, required"),
        ("unix://run/redis.sock", "whole path"),
        ("unix://", "whole path"),
        ("unix:///s?socket_keepalive=1", "socket_keepalive= is unknown"),
        ("redis+cluster://a,,b/1", "no database but 0"),
        ("redis+cluster://a?db=1", "db= is unknown"),
        ("rediss+cluster://a?ssl_min_version=1.3", "ssl_min_version= needs|ssl_min_version= is"),
        ("redis+sentinel://h", "the name of the service is missing"),
        ("redis+sentinel://h/", "the name of the service is missing"),
        ("redis+sentinel://h/s/x", "the database is a number"),
        ("embedded:///a%00b", "control character"),
        ("embedded:///a?password=x", "password= is unknown"),
    ],
)
def test_a_bad_url_is_refused_with_what_is_right(url, right):
    with pytest.raises(ConfigError, match=right):
        parse(url)


@pytest.mark.parametrize("scheme", [name.strip() for name in SCHEMES.split(",")])
@pytest.mark.parametrize(
    "password", ["se/cret", "se#cret", "se?cret", "se cret", "se?cret=1", "se@cret:x", "%se%%cret"]
)
def test_no_error_quotes_the_password(scheme, password):
    for wrong in ("host:port/0?nothing=1", "host/0?nothing=1", "host/0?db=x#y"):
        with pytest.raises(ConfigError) as caught:
            parse(f"{scheme}ann:{password}@{wrong}")
        assert "cret" not in str(caught.value).replace("secret", "")
        assert caught.value.__suppress_context__


def test_what_was_read_does_not_show_its_secrets():
    assert "sesame" not in repr(parse("redis+sentinel://:sesame@h/s?sentinel_password=sesame"))
