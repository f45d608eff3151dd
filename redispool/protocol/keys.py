"""The name of every Redis key, in one place.

`{...}` is the hash tag: all keys of one pool are in one cluster slot. The scripts build the names
of a pool's keys from the first one, `meta` (see `lua/shared/settings.lua`):

| key | type | what |
|---|---|---|
| `NS:{POOL}:meta` | hash | protocol version, counters of fences, stamps and free seats, policy, keys, what it uses |
| `NS:{POOL}:members` | list | every account's name, in the order added: membership |
| `NS:{POOL}:rotation` | list | the accounts with a free seat; the head is next: the round-robin order |
| `NS:{POOL}:places` | hash | name -> its entries in the rotation; negative: all of them stale |
| `NS:{POOL}:idle:NAME` | list | the free seats of an account with `max_sessions` over 1 |
| `NS:{POOL}:accounts` | hash | name -> record |
| `NS:{POOL}:hashes` | hash | account_hash -> name |
| `NS:{POOL}:lock:SEAT` | string, PX | the holder's token: **the** lock. No lock key, no lease |
| `NS:{POOL}:leases` | zset | token -> expiry, server ms |
| `NS:{POOL}:held` | hash | token -> seat, owner, fence, since, purpose |
| `NS:{POOL}:owner:OWNER` | set | the owner's tokens, from the first time that somebody asks for them |
| `NS:{POOL}:queue`, `:queue:WANT` | zset | waiting tokens by (priority, arrival): for any, one, some labels |
| `NS:{POOL}:requests` | hash | token -> mailbox, or until when it lives; owner, ttl, since, what is wanted, how |
| `NS:{POOL}:mail:BOX` | list, PX | the mailbox that acquire blocks on |
| `NS:{POOL}:alive:BOX` | string, PX | that the reader of a shared mailbox lives |
| `NS:{POOL}:cooling` | zset | seat -> back at, server ms |
| `NS:{POOL}:surplus` | hash | name -> highest seat that may still be held, where `max_sessions` was lowered |
| `NS:{POOL}:rest` | hash | name -> ms before which none of its seats comes back |
| `NS:{POOL}:quarantine` | hash | name -> since, who said so, why: out of the rotation |
| `NS:{POOL}:health` | hash | failures and uses of an account |
| `NS:{POOL}:dirty` | zset | seat -> since; it waits for a cleaner |
| `NS:{POOL}:choices` | hash | the choices of labels that were asked for: by their first label; themselves, when ready |
| `NS:{POOL}:rotationLABELS`, `:placesLABELS` | list, hash | the rotation of those that carry the labels |
| `NS:{POOL}:carriers:LABELS` | set | the names of those that carry them |
| `NS:{POOL}:last:OWNER` | string, PX | the account that the owner had last, if he ever asked for it |
| `NS:{POOL}:asking:OWNER` | zset, PX | the owner's waiting tokens, where the policy limits what one owner has |
| `NS:{POOL}:told:TOKEN` | string, PX | the answer to a report or a release by force, should it be sent twice |
| `NS:{POOL}:replicated` | string, PX | written last where `min_replicas` counts, for replicas to confirm |
| `NS:{POOL}:reserved` | set | the accounts that are reserved, and some that were |
| `NS:{POOL}:events` | stream, capped | what happened: the audit trail |
| `NS:pools` | set | the pools of the namespace |
| `NS:routes` | list | the routing rules that all hosts share |
| `NS:log:{LOGGER}` | stream, capped, PX | what the jobs of one logger log |

BOX is the waiter's token, whose request then says until when it lives (server ms); or `shared:…` where all tasks of an
event loop wait at one mailbox.
A seat is one of an account's `max_sessions` places: the first is the account's name, the others
`NAME<tab>2`, `NAME<tab>3` … (a name has no control characters, so no two seats collide).
"""

from __future__ import annotations

from dataclasses import dataclass

PRIVATE_PREFIX = "private:"  # of the names of pools that go with their creators


@dataclass(frozen=True, slots=True)
class PoolKeys:
    """The keys of one pool that are named outside of the scripts."""

    namespace: str
    pool: str

    @property
    def meta(self) -> str:
        """The key that every script is given; it names the others after it."""
        return f"{self.namespace}:{{{self.pool}}}:meta"

    @property
    def members(self) -> str:
        """The list of the names, in the order added."""
        return f"{self.namespace}:{{{self.pool}}}:members"

    @property
    def accounts(self) -> str:
        """The hash of the records."""
        return f"{self.namespace}:{{{self.pool}}}:accounts"

    @property
    def quarantine(self) -> str:
        """The hash of the accounts that are out of the rotation."""
        return f"{self.namespace}:{{{self.pool}}}:quarantine"

    @property
    def events(self) -> str:
        """The stream of what happened."""
        return f"{self.namespace}:{{{self.pool}}}:events"

    @property
    def replicated(self) -> str:
        """The string that is written for replicas to confirm."""
        return f"{self.namespace}:{{{self.pool}}}:replicated"

    def mailbox(self, box: str) -> str:
        """The list that a waiter blocks on."""
        return f"{self.namespace}:{{{self.pool}}}:mail:{box}"


def pools_key(namespace: str) -> str:
    """The set of the namespace's pool names."""
    return f"{namespace}:pools"


def routes_key(namespace: str) -> str:
    """The list of the namespace's routing rules."""
    return f"{namespace}:routes"


def log_key(namespace: str, logger_id: str) -> str:
    """The stream of one logger."""
    return f"{namespace}:log:{{{logger_id}}}"
