"""`redispool top`: the pools of a namespace, live."""
