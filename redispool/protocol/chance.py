"""Random numbers of our own: a program's own ones stay as it seeded them, and forked children do not share ours."""

from __future__ import annotations

from random import SystemRandom

chance = SystemRandom()
