"""What can happen in a pool with rules, how often, and with what arguments."""

from __future__ import annotations

NEVER_LOCKED = "f"
NAMES = ["a", "b", "c", "d", "e", NEVER_LOCKED]
NUMBERS = range(40)
OWNERS = ["ann", "bob", "cid"]
LABELS = [frozenset({"tier=1"}), frozenset({"site=x"}), frozenset({"site=y"}), frozenset({"site=x", "tier=1"})]
RULES = {
    "cooldown": [None, 1, 2], "min_interval": [None, None, 2], "pace": [None, None, 1, 2], "max_failures": [None, 1, 2],
    "max_uses": [None, None, 3], "max_per_owner": [None, None, 1, 2], "cleanup": [None, True],
}  # fmt: skip

WHO = {"owner": OWNERS, "ttl": [1, 2, 3, 4]}
WHICH = {"who": NUMBERS}
TWICE = {"times": [1, 2]}
FORCE = {"force": [False, True]}
PRIORITY = {"priority": [0, 0, 0, 1]}
SOME = PRIORITY | {"exclude": [(), (), (), ("a",), ("a", "d"), ("b", "c")], "patient": [False, False, True]}
CHOICE = {"labels": [frozenset(), *LABELS]}
WHAT = {
    "waits": [False, True], "prefer": [False, False, True, "a", "e"], "name": NAMES,
    "what": ["any", "any", "this", "labels"],
}  # fmt: skip
STEPS = [  # weight, method, from what its arguments are chosen
    (10, "ask", WHO | SOME | WHAT | CHOICE | TWICE),
    (12, "wait_in_line", WHO | PRIORITY | CHOICE),
    (5, "ask_for_several", WHO | SOME | CHOICE | {"count": [2, 2, 3], "waits": [True, True, False]}),
    (4, "ask_to_clean", WHO | TWICE | {"waits": [False, True]}),
    (6, "ask_again", WHICH),
    (10, "all_who_were_told_ask_again", {}),
    (3, "give_up", WHICH | TWICE | {"keep": [False, True]}),
    (1, "die", WHICH),
    (1, "come_back", WHICH),
    (24, "release", WHICH | TWICE | {"cooldown": [None, None, None, None, 0, 1, 3]}),
    (3, "renew", WHICH | {"ttl": [1, 2, 3, 4], "max_lease": [0, 0, 2, 5]}),
    (1, "release_an_owner", {"owner": OWNERS}),
    (2, "reserve", TWICE | FORCE | {"name": NAMES, "owner": OWNERS, "ttl": [2, 30]}),
    (3, "release_by_name", TWICE | FORCE | {"name": NAMES, "owner": OWNERS}),
    (6, "time_passes", {"by": [1, 1, 2, 4]}),
    (2, "somebody_looks", {}),
    (4, "report", TWICE | {"what": ["bad", "bad", "good", "quarantine"], "name": NAMES, "rests": [None, None, 2]}),
    (4, "restore", TWICE | {"name": NAMES}),
    (3, "configure", {"rule": list(RULES), "value": NUMBERS}),
    (5, "add", CHOICE | {"name": NAMES, "sessions": [1, 2, 3]}),
    (1, "remove", {"which": NUMBERS}),
    (1, "rename", {"which": NUMBERS, "new": NAMES}),
    (0.2, "reset", {}),
]

OF_MEMBERS = {"report", "reserve", "release_by_name"}  # seldom of an account that there is not

EVERYTHING = {  # answers, and what comes into mailboxes: a run that has not seen all of them has shown little
    "granted", "waiting", "busy", "choose", "unknown", "exhausted", "too many", "no cleanup", "cancelled", "done",
    "letter again", "letter granted",
}  # fmt: skip
