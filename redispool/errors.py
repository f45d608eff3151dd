"""Every error that redispool raises of its own; Redis's connection errors pass through as they are."""

from __future__ import annotations


class RedispoolError(Exception):
    """The root of all errors of this library."""


class PoolEmpty(RedispoolError, ValueError):  # noqa: N818 - the name is the contract's
    """The pool has no accounts at all, so waiting for one would be in vain."""


class PoolExhausted(PoolEmpty):
    """All accounts that could be had are quarantined, so waiting for one would be in vain until one is restored."""


class AcquireTimeout(RedispoolError, TimeoutError):  # noqa: N818
    """No account came free in the time that the caller gave."""


class NotHeld(RedispoolError):  # noqa: N818
    """An account was released that the caller does not hold."""


class LeaseLost(NotHeld):
    """A lease ended before its holder released it: it ran out, or somebody else ended it."""


class UnknownAccount(RedispoolError, LookupError):  # noqa: N818
    """The account asked for is not in the pool."""


class AccountExists(RedispoolError):  # noqa: N818
    """The pool has an account of that name already."""


class SealError(RedispoolError):
    """A record cannot be opened: the key is missing or wrong, or the record was tampered with."""


class ReplicationError(RedispoolError):
    """Fewer replicas than `min_replicas` have confirmed in time; nothing was taken, and asking again is safe."""


class ProtocolMismatch(RedispoolError):  # noqa: N818
    """What stands in Redis was not written by this version of the protocol."""


class ConfigError(RedispoolError, ValueError):
    """A setting, a URL or an argument makes no sense; the message says which and what to do."""
