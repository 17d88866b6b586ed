"""``python -m worker`` is ``blockworker``."""

import sys

from worker.cmd.main import main

sys.exit(main())
