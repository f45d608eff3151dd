"""`python -m redispool.cli` is `redispool`."""

import sys

from redispool.cli import main

sys.exit(main())
