"""An intake that may be killed: its journal is a file, its end a SIGKILL at a chosen instant.

python -m tests.services.intake_process URL NAME QUORUM JOURNAL WHEN
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests import fakes
from tests.unit.scenes import world
from worker.ports import Ports
from worker.rpc.bus import BusSettings
from worker.rpc.dispatch import Dispatcher
from worker.rpc.intake import Intake
from worker.rpc.wire import Message

BEFORE, AFTER, NEVER = "before", "after", "never"


class FileJournal(Dispatcher):
    """Takes an operation by writing its id down, and dies before or after."""

    def __init__(self, path: Path, dies: str) -> None:
        super().__init__(self._open, lambda _operation: None)
        self._path = path
        self._dies = dies

    def take_together(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.take(message)

    def take(self, message: Message) -> None:
        self._die(BEFORE)
        with self._path.open("a") as journal:
            journal.write(f"{message.arguments['operation_id']}\n")
            journal.flush()
            os.fsync(journal.fileno())
        self._die(AFTER)

    def _die(self, when: str) -> None:
        if self._dies == when:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def _open(self) -> Iterator[Ports]:
        yield fakes.ports(world())


def main() -> None:
    url, name, quorum, journal, dies = sys.argv[1:]
    settings = BusSettings(url=url, host="host-1", name=name, quorum=quorum == "quorum")
    Intake(settings, FileJournal(Path(journal), dies)).start()
    signal.pause()


if __name__ == "__main__":
    main()
