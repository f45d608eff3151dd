"""Every flow of the protocol, with what a server would say to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from redispool.protocol.audit import Disagreement
from redispool.protocol.log_flows import Entry, Retention, Run
from redispool.protocol.oversight import EventRow, Figures, LeaseRow, QuarantineRow, WaiterRow
from redispool.protocol.places import Place
from redispool.protocol.requests import Grant, Request
from redispool.protocol.routes import Route, encode_route
from redispool.protocol.rules import Glob

from .scripted import Case, granted, mail, waiting

ANY = Request(token="t", box="t", owner="me", ttl=60.0)
CHOOSY = Request(token="t", box="t", owner="me", ttl=60.0, choice="\tregion=eu\t")
PARTICULAR = Request(token="t", box="t", owner="me", ttl=60.0, account="a1")
RECORD = b'1\n{"password":"x"}'
FOUND = [[b"a1", RECORD]]
SOON = pytest.approx(1000.0, abs=0.1)


def grant(valid_until: float, account: str = "a1") -> Grant:
    return Grant("t", account, 7, 1000.0, 1060.0, valid_until, RECORD)


def _change(record: bytes) -> tuple[str, str, bytes]:
    return "new", "h2", record + b"!"


def _acquire(timeout: float | None = None, request: Request = ANY) -> Any:
    return lambda stage: stage.leases.acquire(request, timeout)


ACQUIRE = [
    Case("free", "acquire", _acquire(), [("acquire", granted())], [grant(1060.0)]),
    Case("free, particular", "acquire", _acquire(None, PARTICULAR), [("acquire", granted())], [grant(1060.0)]),
    Case(
        "handed over", "acquire", _acquire(), [("acquire", waiting()), ("block", mail())], [grant(1060.0)],
    ),
    Case(
        "handed over in the second slice", "acquire", _acquire(),
        [("acquire", waiting()), ("block", None), ("acquire", waiting(server_now=1_002_000)), ("block", mail())],
        [grant(1060.0)],
    ),
    Case(
        "reclaimed by its own poll", "acquire", _acquire(),
        [("acquire", waiting(next_end=500)), ("block", None), ("acquire", granted(1_000_501))],
        [grant(1000.501 + 59.499)],
    ),
    Case(
        "on its way when the time was up", "acquire", _acquire(1.0),
        [("acquire", waiting()), ("block", None), ("acquire", waiting()), ("cancel keep", granted(1_001_000))],
        [grant(1060.0)], impatient=(2,), patience=1.0,  # by then the deadline is there
    ),
    Case(
        "without waiting", "acquire", _acquire(0.0),
        [("acquire", [b"busy", 1]), ("acquire", granted())], [grant(1060.0)],
        patience=1.0,
    ),
    Case(
        "by labels that were never asked for", "acquire", _acquire(None, CHOOSY),
        [("acquire", [b"choose"]), ("choose", [b"17"]), ("choose", [b"0"]), ("acquire", granted())], [grant(1060.0)],
    ),
    Case(
        "told to ask again", "acquire", _acquire(),
        [("acquire", waiting()), ("block", b"again\nt"), ("acquire", granted())], [grant(1060.0)],
    ),
    Case(
        "two at once", "acquire", _acquire(None, replace(ANY, count=2)),
        [("acquire", [b"granted", 1_000_000, mail(), mail("t/2", "a2")])],
        [grant(1060.0), replace(grant(1060.0), token="t/2", account="a2")],
    ),
]  # fmt: skip

LEASES = [
    Case(
        "attend", "attend", lambda stage: stage.leases.attend("box", 999.0),
        [("attend", [1, 300])], (True, SOON, 0.301),
    ),
    Case("release", "release", lambda stage: stage.leases.release("t", 2000.0, 0.0), [("release", [1])]),
    Case(
        "release all of an owner", "release_owner", lambda stage: stage.leases.release_owner("me"),
        [("owned", [b"owned", b"t1", b"t2"]), ("release", [1, 1])], 2,
    ),
    Case(
        "release all of an owner, as the first to ask", "release_owner", lambda stage: stage.leases.release_owner("me"),
        [("owned", [b"unlisted"]), ("enlist", [0]), ("enlist", [1]), ("owned", [b"owned", b"t"]),
         ("release", [1])], 1,
    ),
    Case(
        "renew", "renew", lambda stage: stage.leases.renew([("t1", 60.0), ("t2", 60.0)], None),
        [("renew", [1_000_000, 1_060_000, 0])], [(1060.0, 1060.0), None], impatient=(0,),
    ),
]  # fmt: skip

PLACES = [
    Case(
        "free at the first visit", "visit", lambda stage: stage.places.visit(ANY, None, 1.0),
        [("acquire", granted())], [grant(1060.0)],
    ),
    Case(
        "a place at the first visit", "visit", lambda stage: stage.places.visit(CHOOSY, None, 1.0),
        [("acquire", [b"choose"]), ("choose", [b"0"]), ("acquire", waiting())], Place("t", "17", 0),
    ),
    Case(
        "free at a later visit", "visit", lambda stage: stage.places.visit(ANY, Place("old", "5"), 1.0),
        [("acquire", granted()), ("cancel return", [b"cancelled"])], [grant(1060.0)],
    ),
    Case(
        "reserved meanwhile, at the last visit", "visit",
        lambda stage: stage.places.visit(ANY, Place("old", "5"), None),
        [("acquire", waiting()), ("cancel return", [b"cancelled"]), ("acquire", granted())], [grant(1060.0)],
    ),
    Case(
        "reserved meanwhile", "visit", lambda stage: stage.places.visit(ANY, Place("old", "5"), 1.0),
        [("acquire", waiting()), ("cancel return", [b"cancelled"]), ("acquire", granted())], [grant(1060.0)],
    ),
]  # fmt: skip

MEMBERS = [
    Case(
        "add", "add", lambda stage: stage.members.add([("a1", "h1", RECORD)], 1, None),
        [("lookup", [None]), ("SADD", 1), ("add", [b"again"]), ("add", [1])], 1,
    ),
    Case(
        "remove", "remove", lambda stage: stage.members.remove([("a1", "h1")]),
        [("lookup", FOUND), ("remove", [b"again"]), ("remove", [1])],
    ),
    Case(
        "replace", "replace", lambda stage: stage.members.replace("a1", "h1", _change),
        [("lookup", FOUND), ("replace", [b"changed"]), ("lookup", FOUND), ("replace", [b"done"])],
    ),
    Case("reset", "reset", lambda stage: stage.members.reset(), [("reset", [5]), ("reset", [0])]),
    Case(
        "leave no trace", "reset", lambda stage: stage.members.reset(leave_no_trace=True),
        [("reset", [0]), ("SREM", 1)],
    ),
    Case(
        "lookup", "lookup", lambda stage: stage.members.lookup("name", ["a1", "a2"]),
        [("lookup", [[b"a1", RECORD], None])], [("a1", RECORD), None],
    ),
    Case(
        "names", "names", lambda stage: stage.members.names("members"), [("names", [1, b"a1", 0, b"a2"])], ["a1", "a2"],
    ),
]  # fmt: skip

RESERVED = [b"granted", 1_000_000, mail()]
EVENT = [b"1000000-0", [b"released", b"a1\nyou\n6\nt\n\n", b"granted", b"a1\nme\n7\nu\n250\nwhy"]]
OVERSIGHT = [
    Case(
        "inspect", "inspect", lambda stage: stage.oversight.inspect(),
        [("inspect", [1_010_000, 2, 1, 1, 0, 3, 0, 1, b'{"cooldown":5}', 1,
                      b"t", b"1060000", b"a1\nme\n7\n1000000\n"])],
        Figures(1010.0, 2, 1, 0, 3, 0, 1, {"cooldown": 5}, (LeaseRow("t", "a1", "me", 7, 1000.0, 1060.0, ""),)),
    ),
    Case(
        "the quarantined", "quarantined", lambda stage: stage.oversight.quarantined(),
        [("HSCAN", [b"7", []]), ("HSCAN", [b"0", [b"a2", b"1000000\nme\nbroken"]])],
        [QuarantineRow("a2", 1000.0, "me", "broken")],
    ),
    Case(
        "who waits", "waiting", lambda stage: stage.oversight.waiting(),
        [("waiting", [b"9", b"t2", b"18", b'b\nme\n60000\n1000000\na1\n{"count":2}']),
         ("waiting", [b"0", b"t1", b"17", b"b\nme\n60000\n1000000\n\n"])],
        [WaiterRow("t1", 17.0, "me", 1000.0, "", {}), WaiterRow("t2", 18.0, "me", 1000.0, "a1", {"count": 2})],
    ),
    Case(
        "events", "events", lambda stage: stage.oversight.events("a1", 10), [("XREVRANGE", [EVENT])],
        [EventRow(1000.0, "granted", "a1", "me", 7, "why", "u", 0.25),
         EventRow(1000.0, "released", "a1", "you", 6, "", "t")],
    ),
    Case(
        "configure", "configure", lambda stage: stage.oversight.configure({"cooldown": 5}),
        [("configure", [b'{"cooldown":5}']), ("SADD", 1)], {"cooldown": 5},
    ),
    Case("note", "note", lambda stage: stage.oversight.note("routed", "why"), [("note", [])], None),
    Case(
        "report", "report", lambda stage: stage.oversight.report("bad", "a1", "401", "me", "t", None),
        [("health", [b"done", 2, 1])], (2, True),
    ),
    Case(
        "reserve", "reserve",
        lambda stage: stage.oversight.reserve("t", "a1", "bob", 2000.0, "", "me", force=False), [("reserve", RESERVED)],
        [grant(1060.0)],
    ),
    Case(
        "revoke", "revoke", lambda stage: stage.oversight.revoke("a1", "bob", "me", "t", force=True),
        [("revoke", [b"done", 1, b""])], 1,
    ),
]  # fmt: skip

RESEAL = [
    Case(
        "reseal", "reseal", lambda stage: stage.resealing.reseal(None),
        [("reseal", [b"begun", 1]), ("HSCAN", [b"0", [b"a1", RECORD]]), ("reseal", [b"changed"]),
         ("reseal", [b"begun", 1]), ("HSCAN", [b"0", []]), ("reseal", [b"finished"])], 0,
    ),
]  # fmt: skip

AUDIT = [
    Case(
        "audit", "audit", lambda stage: stage.audits.audit(),
        [("audit", [b"7", b"a1", b"it is odd", 0]), ("audit", [b"end"]), *[("audit", [b"end"])] * 3,
         ("audit", [b"end", b"t1", b"it waits", 0]), *[("audit", [b"end"])] * 4],
        [Disagreement("a1", "it is odd"), Disagreement("t1", "it waits")],
    ),
]  # fmt: skip

ROUTE = Route("lab", (Glob("lab-*"),))
TEXT = encode_route(ROUTE).encode()
ROUTES = [
    Case("read the routes", "read", lambda stage: stage.routes.read(), [("LRANGE", [])], (SOON, ())),
    Case("add a route", "add", lambda stage: stage.routes.add(ROUTE), [("route", 1)], True),
    Case(
        "remove a route", "remove", lambda stage: stage.routes.remove("lab", None),
        [("LRANGE", [TEXT, TEXT]), ("LREM", 1), ("LREM", 1)], 2,
    ),
    Case("clear the routes", "clear", lambda stage: stage.routes.clear(), [("DEL", 1)]),
]  # fmt: skip

RUN = Run("run", "job", "name", 1)
ENTRY = Entry("started", RUN, "writer", 1)
FIELDS = [b"event", b"started", b"job", b"job", b"name", b"name", b"attempt", b"1", b"run", b"run", b"n", b"writer:1"]
LOGGED = replace(ENTRY, position=(5, 0))
LOGS = [
    Case("append to the log", "append", lambda stage: stage.logs.append(ENTRY, Retention(10, 60.0)), [("log", b"5-0")]),
    Case(
        "read the log", "read", lambda stage: stage.logs.read(None),
        [("XRANGE", [[b"5-0", FIELDS]]), ("XRANGE", [[b"5-0", FIELDS]])], ((5, 0), [LOGGED]),
    ),
    Case(
        "the last run", "last_run", lambda stage: stage.logs.last_run("job"), [("XREVRANGE", [[b"5-0", FIELDS]])], RUN,
    ),
]  # fmt: skip

CASES = [*ACQUIRE, *LEASES, *PLACES, *MEMBERS, *OVERSIGHT, *RESEAL, *AUDIT, *ROUTES, *LOGS]
