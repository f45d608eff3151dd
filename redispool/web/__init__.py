"""The web page of `redispool web`: what `redispool top` shows, and the last hour; an extra."""
