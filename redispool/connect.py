"""Stand-in by the lead, until the helper's connect.py lands: overwrite this file."""

import redis
from redis.retry import Retry
from redis.backoff import NoBackoff


def connect(url=None):
    return redis.Redis.from_url(url or "redis://localhost:6379/0")


def private_client(client, **kw):
    pool = client.connection_pool
    kwargs = {**pool.connection_kwargs, "retry": Retry(NoBackoff(), 0), "decode_responses": False, **kw}
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **kwargs))


def slice_seconds(client):
    return 2.0
