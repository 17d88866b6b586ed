"""A device that is left over: the storage has another volume under its address by now."""

from pathlib import Path

import pytest

from tests.system.inside.storage.conftest import Make
from tests.system.inside.storage.daemons import paths, wait_for
from tests.system.inside.storage.targets import SIZE, Tgt, by_both, new_file, read, write
from worker.errors import WrongDevice
from worker.model.connection import Connection
from worker.volume.brick import BrickConnector


@pytest.fixture
def left_over(connector: BrickConnector, tgt: Tgt, tmp_path: Path) -> Connection:
    """A LUN that is still on the host, whose content was another tenant's."""
    theirs = new_file(tmp_path, "theirs")
    connection = tgt.add(f"left-{len(tgt.numbers)}", theirs)
    write(connector.connect(connection).source.name, "theirs")
    return connection


@pytest.mark.parametrize(
    ("size", "serial", "said"),
    [
        (SIZE, "ours", r"t10\.volume-ours, and the kernel takes it for t10\.volume-left"),
        (SIZE // 2, None, f"{SIZE // 2} bytes, and the kernel has {SIZE}"),
        (SIZE * 2, None, f"{SIZE * 2} bytes, and the kernel has {SIZE}"),
    ],
    ids=["another", "smaller", "larger"],
)
def test_another_volume_under_the_same_address_is_given_to_nobody(
    *,
    connector: BrickConnector,
    tgt: Tgt,
    tmp_path: Path,
    left_over: Connection,
    size: int,
    serial: str | None,
    said: str,
) -> None:
    name = left_over.properties["volume_id"]
    tgt.replace(name, new_file(tmp_path, "ours", size), serial)

    volume = connector.connect(left_over)
    with pytest.raises(WrongDevice, match=said):
        connector.examine(volume)
    connector.disconnect(left_over, force=True)

    again = connector.connect(left_over)
    assert connector.examine(again).size == size, "what is connected anew is what it says it is"
    assert read(again.source.name) == ""
    connector.disconnect(left_over)


def test_one_stale_path_of_two_is_enough(make: Make, tgt: Tgt, tmp_path: Path) -> None:
    connector = make(multipath=True)
    connection = by_both(tgt.add("stale-map", new_file(tmp_path, "theirs")))
    volume = connector.connect(connection)
    wait_for(lambda: len(paths(Path(volume.source.name).name)) == 2, "the second path is not there")
    tgt.replace("stale-map", new_file(tmp_path, "ours"), "ours")
    with pytest.raises(WrongDevice, match="volume-ours"):
        connector.examine(volume)
    connector.disconnect(connection, force=True)
