"""Connect, examine and disconnect with os-brick's helper: run by test_iscsi.py on its own."""

import os
import sys
from pathlib import Path

from tests.system.inside.storage.targets import iscsi
from worker.volume.brick import BrickConnector
from worker.volume.brick_setup import BrickOptions


def main() -> None:
    name, folder = sys.argv[1:]
    helpers = str(Path(sys.executable).parent)
    helper = f"/usr/bin/env PATH={helpers}:{os.environ['PATH']}"
    options = BrickOptions(lock_path=folder, root_helper=helper)
    connector = BrickConnector(host="host-1", my_ip="127.0.0.1", options=options)
    connection = iscsi(name)
    volume = connector.connect(connection)
    seen = connector.examine(volume)
    connector.disconnect(connection)
    print(seen.size, seen.wwid)  # noqa: T201 - what it was started to say


if __name__ == "__main__":
    main()
