"""Export a volume as an ordinary user: run by test_pool_iscsi_tgtd.py in a process of its own.

What is imported is imported before the rights are given up, since the interpreter may live where
only root can read.
"""

import os
import tempfile
from pathlib import Path

from tests.tgtds import HOST, INITIATOR, end, exporting
from tests.unit.pool_scenes import GUEST, ONE, make
from worker.volume.pool.tgtd import PrivateTgtd

NOBODY = 65534


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        daemon = PrivateTgtd(folder / "tgtd")
        try:
            pool = exporting(daemon, folder / "pool")
            make(pool.pool)
            held = pool.attachments.create(ONE, GUEST)
            pool.attachments.connect(held.id, {"host": HOST, "initiator": INITIATOR})
            print([target.initiators == {INITIATOR} for target in daemon.tgt.targets()])  # noqa: T201
            pool.attachments.delete(held.id)
            print(daemon.tgt.targets())  # noqa: T201
        finally:
            end(folder / "tgtd")


if __name__ == "__main__":
    main()
