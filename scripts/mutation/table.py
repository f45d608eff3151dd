"""The mutants: each takes one protection away, by a textual edit, and names the quick test that must then fail."""

from __future__ import annotations

from dataclasses import dataclass

LUA = "redispool/protocol/lua/"
SHARED = LUA + "shared/"
FLOWS = "redispool/protocol/flows.py"
MODEL = "tests/model/test_model.py"
PROTECTIONS = "tests/model/test_protections.py"
TURNS = "tests/behaviour/test_turns.py"
LEASES = "tests/behaviour/test_leases.py"
WAITING = "tests/behaviour/test_waiting.py"
OWNERS = "tests/behaviour/test_owners_index.py"
PROCESSES = "tests/faults/test_processes.py"
REPLIES = "tests/faults/test_lost_replies.py"
ACQUIRE = "tests/protocol/test_acquire.py"
REPLICATION = "tests/protocol/test_replication.py"


@dataclass(frozen=True, slots=True)
class Edit:
    """Each place where the file says `old` is to say `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is taken away, how, and the test that is to catch it."""

    name: str
    test: str
    edits: tuple[Edit, ...]


def mutant(name: str, test: str, *edits: tuple[str, str, str]) -> Mutant:
    return Mutant(name, test, tuple(Edit(*one) for one in edits))


MUTANTS = [
    # -- turns
    mutant(
        "drop the stale mark of what was taken out of turn",
        f"{TURNS}::test_an_account_that_was_taken_out_of_turn_goes_to_the_end",
        (SHARED + "rotation.lua", "call('HSET', PLACES .. choice, name, -places)", "local _ = places"),
    ),
    mutant(
        "hand out stale entries of the rotation",
        MODEL,
        (SHARED + "rotation.lua", "if places == 1 then return name end", "if places ~= 0 then return name end"),
    ),
    mutant(
        "let the rotation grow for ever",
        f"{TURNS}::test_the_rotation_stays_within_twice_the_accounts_however_often_they_are_taken_out_of_turn",
        (SHARED + "rotation.lua", "> call('LLEN', MEMBERS) end", "> call('LLEN', MEMBERS) * 1000 end"),
    ),
    mutant(
        "put what is released to the front",
        f"{TURNS}::test_k_free_accounts_are_handed_out_in_turn",
        (LUA + "release.lua", "call('RPUSH', ROTATION, name)", "call('LPUSH', ROTATION, name)"),
    ),
    # -- who holds
    mutant(
        "drop the token check of release",
        f"{PROTECTIONS}::test_a_lock_that_an_operator_took_over_is_not_released_by_who_held_it_and_comes_back_at_its_end",
        (SHARED + "leases.lua", "if lock and lock ~= token and owner ~= '?' then", "if false then"),
        (LUA + "release.lua", "call('GET', LOCK .. seat) == token and", "true and"),
    ),
    mutant(
        "drop the token check of renew",
        f"{PROTECTIONS}::test_a_lock_that_an_operator_took_over_is_not_renewed_by_who_held_it",
        (LUA + "renew.lua", "call('GET', LOCK .. seat) == token", "true"),
    ),
    mutant(
        "lose an account whose lock an operator took over",
        f"{PROTECTIONS}::test_a_lock_that_an_operator_took_over_outlives_the_lease_that_ends_meanwhile",
        (SHARED + "leases.lua", "      if lock then\n        adopt(seat)\n", "      if lock then\n"),
    ),
    mutant(
        "reclaim without looking at the lock",
        f"{PROTECTIONS}::test_an_index_that_says_that_a_held_account_has_expired_does_not_free_it",
        (SHARED + "leases.lua", "elseif lock == token or lock and owner == '?' then", "elseif false then"),
        (SHARED + "leases.lua", "      if lock then\n        adopt(seat)\n      else\n", "      do\n"),
    ),
    mutant(
        "list what owners have without what is renewed meanwhile",
        f"{OWNERS}::test_a_lease_that_is_renewed_to_end_sooner_is_listed",
        (LUA + "renew.lua", "if by_owner ~= 'all' then", "if false then"),
    ),
    mutant(
        "take a crowd of leases that end together for all",
        f"{OWNERS}::test_a_crowd_of_leases_that_end_in_one_instant_is_listed",
        (LUA + "enlist.lua", "from, from, 'WITHSCORES')", "from, from, 'WITHSCORES', 'LIMIT', 0, PAGE)"),
    ),
    mutant(
        "list what owners have without what is new meanwhile",
        f"{OWNERS}::test_what_changes_between_two_pages_is_listed_as_well",
        (SHARED + "held.lua", "if by_owner then redis.pcall('SADD'", "if KEYS[2] then redis.pcall('SADD'"),
        (LUA + "acquire.lua", "if by_owner then redis.pcall('SADD'", "if KEYS[2] then redis.pcall('SADD'"),
    ),
    mutant(
        "limit what an owner has before it is known",
        f"{OWNERS}::test_a_limit_counts_what_was_held_before_it_was_set",
        (LUA + "configure.lua", "if given.max_per_owner and by_owner ~= 'all' then", "if false then"),
    ),
    mutant(
        "set a lock over another",
        f"{PROCESSES}::test_an_operators_own_lock_keeps_an_account_from_being_handed_out",
        (SHARED + "conditions.lua", "'PX', request.ttl, 'NX')", "'PX', request.ttl)"),
        (LUA + "acquire.lua", "'PX', TTL, 'NX')", "'PX', TTL)"),
    ),
    mutant(
        "set locks without an end",
        f"{LEASES}::test_an_unrenewed_lease_ends_without_anybody_waiting",
        (SHARED + "conditions.lua", "'PX', request.ttl, 'NX')", "'NX')"),
        (LUA + "acquire.lua", "'PX', TTL, 'NX')", "'NX')"),
    ),
    mutant(
        "renew the index, but not the lock",
        f"{LEASES}::test_a_lease_is_renewed_as_long_as_its_process_lives",
        (LUA + "renew.lua", "call('PEXPIRE', LOCK .. seat, expires - now)", "local _ = expires"),
    ),
    mutant(
        "renew beyond max_lease",
        f"{LEASES}::test_max_lease_ends_a_lease_however_often_it_is_renewed",
        (LUA + "renew.lua", "if limit > 0 and since then", "if false then"),
    ),
    mutant(
        "give out the same fence again",
        f"{LEASES}::test_fences_grow_with_every_grant",
        (SHARED + "leasing.lua", "call('HINCRBY', META, 'fence', 1)", "call('HINCRBY', META, 'fence', 0)"),
        (LUA + "acquire.lua", "('HINCRBY', META, 'fence', '1')", "('HINCRBY', META, 'fence', '0')"),
    ),
    mutant(
        "forget the fence at a reset",
        f"{LEASES}::test_fences_go_on_growing_after_a_reset",
        (LUA + "reset.lua", "'stale', 0)", "'stale', 0, 'fence', 0)"),
    ),
    mutant(
        "rename an account, but not its lock",
        MODEL,
        (SHARED + "seats.lua", "if token then call('RENAME', LOCK .. seat, LOCK .. new_seat) end", ""),
    ),
    mutant(
        "hand out what is quarantined",
        MODEL,
        (SHARED + "waiters.lua", "if call('HEXISTS', QUARANTINE, name) == 1 then return end", ""),
    ),
    # -- who waits
    mutant(
        "hand off without presence",
        f"{PROCESSES}::test_a_crowd_of_dead_waiters_holds_nobody_up",
        (SHARED + "waiters.lua", " or not is_alive(request) then", " then"),
        (LUA + "release.lua", "if lives_until and lives_until > now or not", "if lives_until or not"),
    ),
    mutant(
        "keep the requests of the dead",
        MODEL,
        (SHARED + "waiters.lua", "      call('HDEL', REQUESTS, token)\n", ""),
    ),
    mutant(
        "free an account without handing it to who waits",
        MODEL,
        (SHARED + "waiters.lua", "  if not request then\n    put_back", "  if true then\n    put_back"),
        (LUA + "release.lua", "local granted = mailbox and", "local granted = false and"),
    ),
    mutant(
        "let newcomers overtake who waits",
        f"{PROTECTIONS}::test_what_may_be_had_again_goes_to_who_waits_and_not_to_who_asks_first",
        (SHARED + "take.lua", "local other = waiter and waiter.token ~= request.token", "local other = false"),
    ),
    mutant(
        "put who comes back at the end of the queue",
        f"{PROTECTIONS}::test_a_waiter_that_was_taken_for_dead_comes_back_to_its_place",
        (LUA + "acquire.lua", "if STAMP ~= '' and call('HEXISTS', HELD, request.token) == 0", "if false"),
        (LUA + "acquire.lua", "local stamp, since = STAMP, nil\n", "local stamp, since = '', nil\n"),
    ),
    mutant(
        "skip the idempotent reply of acquire",
        f"{REPLIES}::test_a_lost_reply_to_acquire_costs_no_second_account",
        (LUA + "acquire.lua", "now_text .. '\\n') == 1 then", "now_text .. '\\n') then"),
        (LUA + "acquire.lua", " and call('HEXISTS', HELD, TOKEN) == 0 then\n", " then\n"),
        (LUA + "acquire.lua", "if #before == count then return granted(before) end", ""),
        (LUA + "acquire.lua", "for number = 1, #before > 0 and count or 0 do", "for number = 1, 0 do"),
    ),
    mutant(
        "leave mailboxes behind",
        MODEL,
        (SHARED + "requests.lua", "call('DEL', MAIL .. request.box)", "local _ = request"),
    ),
    mutant(
        "skip cancel after Ctrl-C",
        f"{PROCESSES}::test_ctrl_c_in_a_waiting_process_leaves_nothing_in_the_queue",
        (FLOWS, "if self.channel.contacted or not isinstance(error, Exception):", "if isinstance(error, Warning):"),
    ),
    mutant(
        "skip cancel at the deadline",
        f"{WAITING}::test_a_wait_ends_with_its_timeout_and_leaves_the_queue",
        (FLOWS, 'asked, reply = yield from self._cancel(request, "keep")', 'asked, reply = 0.0, [b""]'),
    ),
    mutant(
        "lose the grant that was on its way at the deadline",
        f"{ACQUIRE}::test_a_grant_on_its_way_when_the_time_is_up_is_taken",
        (FLOWS, 'self._cancel(request, "keep")', 'self._cancel(request, "return")'),
    ),
    mutant(
        "cancel without giving back what was granted",
        f"{PROCESSES}::test_ctrl_c_that_meets_a_grant_gives_it_back",
        (LUA + "cancel.lua", "for number = 1, result[1] == 'granted' and 0 or count do", "for number = 1, 0 do"),
    ),
    mutant(
        "take a grant that was read too late",
        f"{ACQUIRE}::test_a_grant_that_was_read_after_its_end_is_not_handed_out_but_asked_for_again",
        (FLOWS, "if grant.valid_until <= now:", "if False:"),
    ),
    mutant(
        "sleep on when a lease ends",
        f"{ACQUIRE}::test_a_slice_ends_when_there_is_something_to_do",
        (FLOWS, "if next_end == 0 or (next_end > 0 and (rank or 0) < FIRST_FEW):", "if False:"),
    ),
    # -- clients
    mutant(
        "count a lease from when its grant was read",
        f"{ACQUIRE}::test_a_grant_is_valid_from_when_it_was_asked_not_from_when_the_answer_came",
        (FLOWS, "return [read_grant(packed, asked, reply[1]) for packed in reply[2:]]",
         "return [read_grant(packed, self.channel.clock(), reply[1]) for packed in reply[2:]]"),
    ),
    mutant(
        "take a release that was sent twice for a lost lease",
        f"{REPLIES}::test_a_lost_reply_to_release_is_no_lost_lease",
        (FLOWS, "if not reply[0] and (started >= valid_until or not sent_before):", "if not reply[0]:"),
    ),
    mutant(
        "let the keeper give up after one error",
        f"{REPLIES}::test_an_outage_shorter_than_the_ttl_keeps_the_lease",
        ("redispool/keeper.py", "self.postpone(leases, time.monotonic())", "pass"),
    ),
    mutant(
        "let a forked child have its parent's keeper",
        "tests/test_keeper.py::test_a_forked_child_has_a_keeper_of_its_own_that_knows_none_of_its_parents_leases",
        ("redispool/keeper.py", "os.register_at_fork(after_in_child=_after_fork)", ""),
    ),
    mutant(
        "clean up without a shield",
        "tests/asyncio/test_cancellation.py::test_cancelled_at_any_await_nothing_stays_behind",
        ("redispool/drivers.py", "perform = partial(shielded, wire)", "pass"),
    ),
    mutant(
        "do not tell the server its scripts again",
        "tests/faults/test_servers.py::test_a_server_that_forgets_its_scripts_is_told_them_again",
        ("redispool/drivers.py", ' send("EVAL", call.script.text', ' send("EVALSHA", call.script.sha'),
    ),
    mutant(
        "believe a mailed lease as long as a clock that was set says",
        f"{ACQUIRE}::test_a_mailed_grant_is_valid_for_a_ttl_at_most_however_the_servers_clock_was_set_since_the_request",
        (FLOWS, "min(grant.valid_until, now + request.ttl)", "grant.valid_until"),
    ),
    # -- replicas
    mutant(
        "answer before replicas know",
        f"{REPLICATION}::test_a_free_account_still_takes_one_command_which_waits",
        ("redispool/protocol/channel.py", "self.replication if durable else None", "None"),
    ),
    mutant(
        "wait for what one's own connection has written",
        "tests/faults/test_replicas.py::test_a_reply_that_was_lost_is_confirmed_when_it_is_asked_for_again",
        ("redispool/drivers.py", '("SET", wanted.key, "", "PX", "60000")', '("GET", wanted.key)'),
    ),
    mutant(
        "take a mail that replicas may not know of",
        f"{REPLICATION}::test_a_hand_off_is_asked_for_once_more_as_another_has_written_it",
        (FLOWS, "return None if self.channel.replication else [grant]", "return [grant]"),
    ),
    mutant(
        "keep what too few replicas confirm",
        f"{REPLICATION}::test_at_the_deadline_what_was_granted_and_not_confirmed_is_given_back",
        (FLOWS, "except ReplicationError:\n            yield from self._abandon(request)", "except ReplicationError:"),
    ),
    mutant(
        "go on while a cluster moves the slot",
        "tests/model/test_moving_slot.py",
        (SHARED + "settings.lua", "call('EXISTS', REQUESTS, LOCK)", "call('EXISTS', REQUESTS)"),
    ),
    mutant(
        "reclaim without bound",
        f"{PROTECTIONS}::test_one_call_reclaims_no_more_than_its_bound",
        (SHARED + "rotation.lua", "local BOUND = 64", "local BOUND = 1000000"),
    ),
]  # fmt: skip
