"""The shared pool, as one process sees it."""


def test_accounts_are_handed_out_in_turn(make_pool):
    pool = make_pool(3)
    names = []
    for _ in range(6):
        with pool.lease() as account:
            names.append(account.name)
    assert names == ["a1", "a2", "a3"] * 2
