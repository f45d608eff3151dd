"""`python -m redispool` is `redispool`."""

import sys

from redispool.cli import main

sys.exit(main())
