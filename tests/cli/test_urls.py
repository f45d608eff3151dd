"""The commands reach whatever a URL names: by TLS, through sentinels, a cluster."""

from __future__ import annotations

import json

import pytest

from redispool import Account, AccountPool
from redispool.cli.site import Site
from redispool.watch import Watch
from tests.topologies import Cluster, SentinelSetup, TlsServer


@pytest.fixture(params=["tls", "sentinel", "cluster"])
def url(request):
    """The URL of a server, of each kind."""
    match request.param:
        case "tls":
            running = TlsServer("127.0.0.1")
            yield f"rediss://127.0.0.1:{running.tls_port}/0?{running.tls_query}"
        case "sentinel":
            running = SentinelSetup(password="of-the-server", sentinel_password="of-the-sentinels")
            yield running.url
        case "cluster":
            running = Cluster(requirepass="of-the-server")
            yield running.url
    running.remove()


def test_status_events_and_doctor_work_with_every_kind_of_url(shell, url):
    for name in ("lab", "spare"):  # in two slots of a cluster
        pool = AccountPool([Account("alice", "planted")], name=name, redis=url, namespace=shell.namespace)
    with pool.lease(owner="worker 1"):
        shown = shell.says("status", REDISPOOL_URL=url)
        assert "worker 1" in shown
        assert "spare: " in shown
        found = json.loads(shell.says("status", "--json", REDISPOOL_URL=url))
        assert {one["name"]: one["held"] for one in found} == {"lab": 0, "spare": 1}
        events = shell.says("events", "spare", "--json", REDISPOOL_URL=url)
        assert [json.loads(line)["event"] for line in events.splitlines()] == ["added", "granted"]
        watch = Watch(Site.at(url, shell.namespace), reach=3600)  # as top and the web page have it
        watch.look()
        assert [row.event for row in watch.pools[1].events] == ["added", "granted"]
        watch.look()
        assert watch.trouble is None
        assert [view.status.held for view in watch.pools] == [0, 1]
        _, diagnosis = shell.run("doctor", REDISPOOL_URL=url)
        assert "Traceback" not in diagnosis
    for text in (shown, events, diagnosis):
        assert not any(secret in text for secret in ("planted", "of-the-server", "of-the-sentinels"))


def test_a_certificate_that_names_another_host_is_refused(shell):
    running = TlsServer("redis.example")
    try:
        status, output = shell.run(
            "status", REDISPOOL_URL=f"rediss://127.0.0.1:{running.tls_port}/0?{running.tls_query}"
        )
        assert status == 69
        assert "certificate" in output
    finally:
        running.remove()
