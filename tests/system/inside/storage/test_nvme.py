"""NVMe over TCP, from the kernel's own target."""

from pathlib import Path

from tests.system.inside.storage.daemons import left, run, wait_for
from tests.system.inside.storage.targets import MIB, SIZE, Nvmet, new_file, read, write
from worker.model.ids import new_uuid
from worker.model.source import Seen
from worker.volume.brick import BrickConnector


def test_what_was_written_before_a_detach_is_read_after_the_next_attach(
    connector: BrickConnector, nvmet: Nvmet, tmp_path: Path
) -> None:
    uuid = new_uuid()
    connection = nvmet.add("one", 1, new_file(tmp_path, "one"), uuid)
    assert connector.find(connection) is None

    volume = connector.connect(connection)
    assert connector.find(connection) == volume == connector.connect(connection)
    assert connector.examine(volume) == Seen(size=SIZE, wwid=f"uuid.{uuid}")
    write(volume.source.name, "of the guest", at=7)
    assert len(left()["controllers"]) == 1
    for _ in range(2):
        connector.disconnect(connection)
    assert left() == {}

    again = connector.connect(connection)
    assert read(again.source.name, at=7) == "of the guest"
    connector.disconnect(connection)


def test_the_controller_goes_with_the_last_of_a_subsystem(
    connector: BrickConnector, nvmet: Nvmet, tmp_path: Path
) -> None:
    """The storage takes a namespace away that others of its subsystem keep on the host."""
    one, other = new_uuid(), new_uuid()
    first = nvmet.add("several", 1, new_file(tmp_path, "first"), one)
    second = nvmet.add("several", 2, new_file(tmp_path, "second"), other)
    volumes = [connector.connect(each) for each in (first, second)]
    assert [connector.examine(each).wwid for each in volumes] == [f"uuid.{one}", f"uuid.{other}"]

    connector.disconnect(first)
    assert connector.examine(volumes[1]).wwid == f"uuid.{other}"
    nvmet.withdraw("several", 1)
    wait_for(lambda: connector.find(first) is None, "the namespace stays")
    connector.disconnect(second)


def test_a_namespace_that_has_grown_is_as_large_as_it_is(
    connector: BrickConnector, nvmet: Nvmet, tmp_path: Path
) -> None:
    backing = new_file(tmp_path, "growing")
    connection = nvmet.add("growing", 1, backing, new_uuid())
    volume = connector.connect(connection)
    with backing.open("r+b") as file:
        file.truncate(SIZE + 16 * MIB)
    run("losetup", "--set-capacity", nvmet.device("growing", 1))
    nvmet.revalidate("growing", 1)
    assert connector.extend(connection) == SIZE + 16 * MIB
    assert connector.examine(volume).size == SIZE + 16 * MIB
    connector.disconnect(connection)
