"""iSCSI by two paths, under one map."""

import threading
from pathlib import Path

from tests.system.inside.storage.conftest import Make
from tests.system.inside.storage.daemons import left, paths, run, wait_for
from tests.system.inside.storage.targets import (
    ADDRESSES,
    SIZE,
    Tgt,
    by_both,
    cut_off,
    new_file,
    read,
    write,
)
from worker.model.source import Seen

BLOCKS = 400


def states() -> str:
    """What the kernel and the checker say of each path."""
    return run("multipathd", "show", "paths", "raw", "format", "%d %t %T %o")


def one_has_failed() -> bool:
    return "failed" in states() or "faulty" in states()


def test_one_path_may_be_cut_while_data_is_written(make: Make, tgt: Tgt, tmp_path: Path) -> None:
    connector = make(multipath=True)
    connection = by_both(tgt.add("two", new_file(tmp_path, "two")))
    volume = connector.connect(connection)
    name = Path(volume.source.name).name
    assert name.startswith("dm-")
    assert connector.find(connection) == volume == connector.connect(connection)
    wait_for(lambda: len(paths(name)) == 2, "the second path does not come")
    assert connector.examine(volume) == Seen(size=SIZE, wwid="t10.volume-two")

    written: list[int] = []

    def write_on() -> None:
        for number in range(BLOCKS):
            write(volume.source.name, f"block {number}", at=number)
            written.append(number)

    writer = threading.Thread(target=write_on)
    writer.start()
    wait_for(lambda: len(written) > BLOCKS // 10, "nothing is written")
    with cut_off(ADDRESSES[1]):
        assert writer.is_alive(), "it was written before the path was cut"
        writer.join(180)
        assert len(written) == BLOCKS
        wait_for(one_has_failed, f"no path has failed: {states()}")
        assert connector.examine(volume).size == SIZE, "one path answers"

    connector.disconnect(connection)
    assert left() == {}

    again = connector.connect(connection)
    seen = [read(again.source.name, at=number) for number in range(BLOCKS)]
    assert seen == [f"block {number}" for number in range(BLOCKS)]
    connector.disconnect(connection)


def test_a_map_goes_with_its_paths_while_one_of_them_is_cut(
    make: Make, tgt: Tgt, tmp_path: Path
) -> None:
    connector = make(multipath=True)
    connection = by_both(tgt.add("half", new_file(tmp_path, "half")))
    name = Path(connector.connect(connection).source.name).name
    wait_for(lambda: len(paths(name)) == 2, "the second path does not come")
    with cut_off(ADDRESSES[1]):
        wait_for(one_has_failed, f"no path has failed: {states()}")
        connector.disconnect(connection, force=True)
    assert left() == {}
