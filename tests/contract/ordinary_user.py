"""Attach a file as an ordinary user: run by test_connector.py in a process of its own.

What is imported is imported before the rights are given up, since the interpreter may live
where only root can read.
"""

import os
import tempfile
from pathlib import Path

from worker.model.connection import Connection
from worker.volume.brick import BrickConnector
from worker.volume.brick_setup import BrickOptions

NOBODY = 65534
SIZE = 1 << 20


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        connector = BrickConnector(
            host="host-1", my_ip="192.0.2.1", options=BrickOptions(lock_path=name)
        )
        connector.properties()
        connector.refresh()
        image = Path(name) / "image.raw"
        with image.open("wb") as file:
            file.truncate(SIZE)
        if os.geteuid() == 0:
            for path in (Path(name), image):
                os.chown(path, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        connection = Connection(protocol="local", properties={"device_path": str(image)})
        volume = connector.connect(connection)
        print(connector.properties()["host"], connector.examine(volume).size)  # noqa: T201
        connector.disconnect(connection)


if __name__ == "__main__":
    main()
