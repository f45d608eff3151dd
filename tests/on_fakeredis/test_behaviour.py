"""The tests of `tests/behaviour` that need no more than a server that answers; two takes of each, for each face."""

from __future__ import annotations

from tests.behaviour import test_leases, test_rest, test_sessions, test_turns, test_waiting

LONG = ("thousand", "however_often", "hundred")  # what does a thing so many times says so in its name

for module in (test_leases, test_rest, test_sessions, test_turns, test_waiting):
    for name, test in vars(module).items():
        if name.startswith("test_") and callable(test) and not any(word in name for word in LONG):
            globals()[name] = test
