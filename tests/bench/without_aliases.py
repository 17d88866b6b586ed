"""``python -m tests.bench.without_aliases serve …``: the worker, but for its look for aliases."""

import sys

from worker.cmd.main import main
from worker.handlers import look_at_guest
from worker.handlers.migrate_aliases import MigrateAliases


def look_for_nothing(*_seen: object) -> tuple[MigrateAliases, ...]:
    """Pass over what is looked for otherwise."""
    return ()


vars(look_at_guest)["look_for_aliases"] = look_for_nothing
sys.exit(main())
