"""What a volume leaves when nobody disconnects it: found in the kernel's own files, and removed.

The daemons' sockets, by which the doctor knows them, are looked at here too: here they run.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.system.inside.storage.conftest import Make
from tests.system.inside.storage.daemons import left, run, wait_for
from tests.system.inside.storage.targets import PORTALS, Nvmet, Tgt, by_both, iqn, new_file
from worker.errors import ConnectFailed
from worker.health.checks import programs
from worker.model.connection import Connection
from worker.model.finding import Verdict
from worker.model.ids import new_uuid
from worker.model.leftover import Leftover, LeftoverKind
from worker.volume.brick import BrickConnector
from worker.volume.leftovers.host import HostLeftovers
from worker.volume.leftovers.tools import BrickTools


@pytest.fixture
def leftovers(make: Make) -> HostLeftovers:
    """Made after a connector, which sets os-brick up."""
    make()
    return HostLeftovers(BrickTools())


def of_kind(leftovers: HostLeftovers, kind: LeftoverKind) -> list[Leftover]:
    return [thing for thing in leftovers.list() if thing.kind is kind]


def marks(leftovers: HostLeftovers, connection: Connection) -> frozenset[str]:
    (found,) = leftovers.marks([connection])
    return found


def test_a_session_that_was_left_is_known_by_its_connection_and_removed(
    connector: BrickConnector, leftovers: HostLeftovers, tgt: Tgt, tmp_path: Path
) -> None:
    connection = tgt.add("left", new_file(tmp_path, "left"))
    volume = connector.connect(connection)
    (session,) = of_kind(leftovers, LeftoverKind.SESSION)
    (part,) = session.parts
    assert session.marks | part.marks == marks(leftovers, connection)
    assert part.wwid == connector.examine(volume).wwid == "t10.volume-left"
    assert f"/dev/{part.name}" == str(Path(volume.source.name).resolve())

    leftovers.remove(session)

    assert left() == {}
    leftovers.remove(session)


def test_what_has_the_device_open_keeps_it(
    connector: BrickConnector, leftovers: HostLeftovers, tgt: Tgt, tmp_path: Path
) -> None:
    volume = connector.connect(tgt.add("open", new_file(tmp_path, "open")))
    with Path(volume.source.name).open("rb"):
        (session,) = of_kind(leftovers, LeftoverKind.SESSION)
        with pytest.raises(ConnectFailed, match="has it open"):
            leftovers.remove(session)
        assert of_kind(leftovers, LeftoverKind.SESSION) == [session]
    run("mkswap", volume.source.name)
    run("swapon", volume.source.name)
    with pytest.raises(ConnectFailed, match="swapped to"):
        leftovers.remove(session)
    run("swapoff", volume.source.name)
    leftovers.remove(session)
    assert left() == {}


def test_one_of_two_devices_goes_and_the_session_stays_for_the_other(
    connector: BrickConnector, leftovers: HostLeftovers, tgt: Tgt, tmp_path: Path
) -> None:
    connection = tgt.add("both", new_file(tmp_path, "both"))
    second = new_file(tmp_path, "second")
    tgt.adm("logicalunit", "new", tgt.numbers["both"], "--lun", 2, "--backing-store", second)
    other = Connection(
        protocol="iscsi", properties={**connection.properties, "target_lun": 2, "volume_id": "x"}
    )
    for each in (connection, other):
        connector.connect(each)
    (session,) = of_kind(leftovers, LeftoverKind.SESSION)
    ours = [part for part in session.parts if part.marks & marks(leftovers, connection)]
    assert (len(session.parts), len(ours)) == (2, 1)

    leftovers.remove(replace(session, parts=tuple(ours)))

    (still,) = of_kind(leftovers, LeftoverKind.SESSION)
    assert [part.name for part in still.parts] == [
        part.name for part in session.parts if part not in ours
    ]
    leftovers.remove(still)
    assert left() == {}


def test_a_session_without_a_device_is_logged_out(
    leftovers: HostLeftovers, tgt: Tgt, tmp_path: Path
) -> None:
    tgt.add("bare", new_file(tmp_path, "bare"))
    tgt.adm("logicalunit", "delete", tgt.numbers["bare"], "--lun", 1)
    where = ("-m", "node", "-T", iqn("bare"), "-p", PORTALS[0])
    run("iscsiadm", *where, "--op", "new")
    run("iscsiadm", *where, "--login")
    (session,) = of_kind(leftovers, LeftoverKind.SESSION)
    assert session.parts == ()
    leftovers.remove(session)
    assert left() == {}


def test_a_map_goes_before_the_sessions_of_its_paths(
    make: Make, leftovers: HostLeftovers, tgt: Tgt, tmp_path: Path
) -> None:
    connection = by_both(tgt.add("paths", new_file(tmp_path, "paths")))
    make(multipath=True).connect(connection)
    wait_for(
        lambda: [len(over.parts) for over in of_kind(leftovers, LeftoverKind.MAP)] == [2],
        "the second path does not come",
    )
    (over,) = of_kind(leftovers, LeftoverKind.MAP)
    sessions = of_kind(leftovers, LeftoverKind.SESSION)
    assert [part.held for each in sessions for part in each.parts] == [(over.name,)] * 2
    assert all(part.marks <= marks(leftovers, connection) for part in over.parts)
    users = [over.used, *(part.used for each in sessions for part in each.parts)]
    assert users == [None] * 3, "multipathd is no user"
    with pytest.raises(ConnectFailed, match=f"{over.name} is over"):
        leftovers.remove(sessions[0])

    leftovers.remove(over)
    for each in of_kind(leftovers, LeftoverKind.SESSION):
        leftovers.remove(each)

    assert left() == {}


def test_a_controller_that_was_left_is_disconnected(
    connector: BrickConnector, leftovers: HostLeftovers, nvmet: Nvmet, tmp_path: Path
) -> None:
    connection = nvmet.add("left", 1, new_file(tmp_path, "nvme"), new_uuid())
    volume = connector.connect(connection)
    (controller,) = of_kind(leftovers, LeftoverKind.CONTROLLER)
    (part,) = controller.parts
    named = marks(leftovers, connection)
    assert controller.marks <= named
    assert part.marks & named
    assert part.wwid == connector.examine(volume).wwid
    assert f"/dev/{part.name}" == str(Path(volume.source.name).resolve())
    with (
        Path(volume.source.name).open("rb"),
        pytest.raises(ConnectFailed, match="has it open"),
    ):
        leftovers.remove(controller)

    leftovers.remove(controller)

    assert left() == {}


def test_the_doctor_hears_the_daemons() -> None:
    listening = programs.sockets()
    assert programs.ISCSID in listening
    (multipath,) = programs.multipath(listening, wanted=True, enforced=True)
    assert multipath.verdict is Verdict.OK
