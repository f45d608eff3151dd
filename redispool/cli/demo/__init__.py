"""`redispool demo`: workers share accounts, one of them is killed, and a login service judges."""
