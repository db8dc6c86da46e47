"""`python -m pgannex_server` is the command `pgannex`."""

import sys

from pgannex_server.cli import main

sys.exit(main())
