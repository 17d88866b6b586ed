"""A logical volume behind a target, as Cinder's LVM driver has it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.inside.storage.daemons import run
from tests.system.inside.storage.targets import MIB, SIZE, Tgt, new_file, read, write
from worker.volume.brick import BrickConnector

GROUP = "cinder-volumes"


@pytest.fixture
def group(tmp_path: Path) -> Iterator[str]:
    loop = run("losetup", "--find", "--show", new_file(tmp_path, "pv", 96 * MIB)).strip()
    run("vgcreate", GROUP, loop)
    yield GROUP
    run("vgremove", "--force", GROUP)
    run("losetup", "--detach", loop)


def test_a_logical_volume_has_what_was_written_into_it_through_its_target(
    connector: BrickConnector, tgt: Tgt, group: str
) -> None:
    run("lvcreate", "--yes", "--wipesignatures", "n", "-L", f"{SIZE}b", "-n", "volume-1", group)
    logical = Path("/dev", group, "volume-1")
    connection = tgt.add("lvm", logical)
    volume = connector.connect(connection)
    assert connector.examine(volume).size == SIZE
    write(volume.source.name, "of the guest", at=3)
    connector.disconnect(connection)
    assert read(str(logical), at=3) == "of the guest"

    again = connector.connect(connection)
    assert read(again.source.name, at=3) == "of the guest"
    connector.disconnect(connection)
    tgt.remove("lvm")
