"""What leftovers promise, on the fake host and on the real adapter over a folder like sysfs."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.contract.storage_hosts import (
    BASE,
    EXPORT,
    HOST,
    IQN,
    PORT,
    FakeStorageHost,
    FolderHost,
    StorageHost,
    iscsi,
    write,
)
from tests.rings import require
from worker.errors import ConnectFailed
from worker.model.connection import Connection
from worker.model.leftover import Leftover, LeftoverKind
from worker.volume.leftovers.kernel import Kernel
from worker.volume.leftovers.names import mount_point, target_mark
from worker.volume.leftovers.together import WithExports

NQN = "nqn.2026-01.org.example:one"
UUID = "6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e001"


@pytest.fixture(params=["fake", "folder"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> StorageHost:
    return FakeStorageHost() if request.param == "fake" else FolderHost(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> FolderHost:
    return FolderHost(tmp_path)


def only(host: StorageHost, kind: LeftoverKind = LeftoverKind.SESSION) -> Leftover:
    (found,) = (thing for thing in host.leftovers.list() if thing.kind is kind)
    return found


def named(host: StorageHost, connection: Connection) -> frozenset[str]:
    (marks,) = host.leftovers.marks([connection])
    return marks


def part_of(thing: Leftover, name: str) -> Leftover:
    return replace(thing, parts=tuple(part for part in thing.parts if part.name == name))


def test_a_host_without_anything_has_nothing(host: StorageHost) -> None:
    assert host.leftovers.list() == ()
    assert host.leftovers.marks([]) == ()


def test_a_connection_and_what_it_leads_to_go_by_the_same_marks(host: StorageHost) -> None:
    host.log_in("session1", IQN, sdb=1, sdc=2)
    thing = only(host)
    first, second = thing.parts
    ours, other = host.connection(IQN, 1), host.connection(f"{IQN}-other", 1)
    assert thing.marks <= named(host, ours)
    assert first.marks <= named(host, ours)
    assert not second.marks & named(host, ours)
    assert not (thing.marks | first.marks) & named(host, other)


def test_what_is_removed_is_gone_and_again_is_fine(host: StorageHost) -> None:
    host.log_in("session1", IQN, sdb=1)
    thing = only(host)
    host.leftovers.remove(thing)
    assert host.leftovers.list() == ()
    host.leftovers.remove(thing)


def test_a_part_goes_and_the_rest_stays(host: StorageHost) -> None:
    host.log_in("session1", IQN, sdb=1, sdc=2)
    host.leftovers.remove(part_of(only(host), "sdb"))
    assert host.devices("session1") == ["sdc"]
    host.leftovers.remove(part_of(only(host), "sdb"))
    assert host.devices("session1") == ["sdc"]


def test_an_empty_session_is_logged_out(host: StorageHost) -> None:
    host.log_in("session1", IQN)
    host.leftovers.remove(only(host))
    assert host.leftovers.list() == ()


def test_what_is_in_use_stays(host: StorageHost) -> None:
    host.log_in("session1", IQN, sdb=1)
    host.mount_device("sdb")
    thing = only(host)
    assert thing.parts[0].used is not None
    with pytest.raises(ConnectFailed, match="in use"):
        host.leftovers.remove(thing)
    assert host.devices("session1") == ["sdb"]


def test_another_of_its_name_is_left_alone(host: StorageHost) -> None:
    host.log_in("session1", IQN, sdb=1)
    thing = only(host)
    host.leftovers.remove(thing)
    host.log_in("session1", f"{IQN}-other", sdb=1)
    host.leftovers.remove(thing)
    assert host.devices("session1") == ["sdb"]


def test_what_is_swapped_to_stays(folder: FolderHost) -> None:
    folder.log_in("session1", IQN, sdb=1)
    folder.swap_to("sdb")
    with pytest.raises(ConnectFailed, match="it is swapped to"):
        folder.leftovers.remove(only(folder))


def test_another_bare_session_of_its_name_is_left_alone(host: StorageHost) -> None:
    host.log_in("session1", IQN)
    thing = only(host)
    host.leftovers.remove(thing)
    host.log_in("session1", f"{IQN}-other")
    host.leftovers.remove(thing)
    assert len(host.leftovers.list()) == 1


@pytest.mark.parametrize("late", [False, True])
def test_a_session_that_got_a_device_is_not_logged_out(folder: FolderHost, *, late: bool) -> None:
    """A lane that connects has the lock until it has its device."""
    folder.log_in("session1", IQN)
    thing = only(folder)
    connect = partial(folder.log_in, "session1", IQN, sdb=1)
    if late:
        folder.tools.before = connect
    else:
        connect()
    folder.leftovers.remove(thing)
    assert folder.devices("session1") == ["sdb"]


def test_a_device_that_is_another_volume_by_now_is_left_alone(folder: FolderHost) -> None:
    folder.log_in("session1", IQN, sdb=1)
    thing = only(folder)
    assert thing.parts[0].wwid == "t10.TEST    sdb"
    folder.call("sdb", "other")
    folder.leftovers.remove(thing)
    assert folder.devices("session1") == ["sdb"]


def test_what_does_not_go_is_named(folder: FolderHost) -> None:
    folder.log_in("session1", IQN, sdb=1)
    folder.dead = True
    with pytest.raises(ConnectFailed, match=r"session1 .*sdb.* is still there"):
        folder.leftovers.remove(only(folder))


def test_a_tool_that_fails_is_a_failure_of_ours(folder: FolderHost) -> None:
    folder.connect_nvme("nvme1", NQN, "traddr=192.0.2.1,trsvcid=4420")

    def broken(*_words: str) -> None:
        raise FileNotFoundError(2, "No such file or directory", "nvme")

    folder.tools.run = broken  # type: ignore[method-assign]
    with pytest.raises(ConnectFailed, match=r"cannot remove nvme1 .*No such file.*nvme"):
        folder.leftovers.remove(only(folder, LeftoverKind.CONTROLLER))


@pytest.mark.parametrize(
    ("kernels", "services"),
    [
        (("192.0.2.1", "3260"), "192.0.2.1:3260"),
        (("192.0.2.1", "3260"), "192.0.2.1"),
        (("2001:db8:0:0::1", "3261"), "[2001:db8::1]:3261"),
        (("storage.example", "3260"), "Storage.example:3260"),
    ],
)
def test_an_address_is_the_same_however_it_is_written(
    folder: FolderHost, kernels: tuple[str, str], services: str
) -> None:
    folder.log_in_at(*kernels, "session1", IQN, sdb=1)
    thing = only(folder)
    assert thing.marks | thing.parts[0].marks == named(folder, iscsi(IQN, 1, services))


def test_a_lun_through_another_portal_is_another(folder: FolderHost) -> None:
    folder.log_in("session1", IQN, sdb=1)
    marks = named(folder, iscsi(IQN, 1, "192.0.2.9:3260"))
    assert not marks & (only(folder).marks | only(folder).parts[0].marks)


def test_a_connection_names_every_portal_that_it_has(folder: FolderHost) -> None:
    folder.log_in("session1", IQN, sdb=1)
    portals = ["192.0.2.9:3260", f"{HOST}:3260"]
    said = {"target_portals": portals, "target_iqns": ["iqn.else", IQN], "target_luns": [4, 1]}
    marks = named(folder, Connection(protocol="iscsi", properties=said))
    assert only(folder).parts[0].marks <= marks


@pytest.mark.parametrize(
    ("mode", "lun", "shown"),
    [(None, 300, 300), ("SAM2", 300, 16684), ("SAM2", 3, 3), ("SAM3-flat", 3, 16387)],
)
def test_a_lun_is_found_as_the_kernel_counts_it(
    folder: FolderHost, mode: str | None, lun: int, shown: int
) -> None:
    folder.log_in("session1", IQN, sdb=shown)
    marks = named(folder, iscsi(IQN, lun, addressing_mode=mode))
    assert only(folder).parts[0].marks <= marks


def test_a_connection_that_names_no_lun_names_nothing(folder: FolderHost) -> None:
    assert named(folder, Connection(protocol="iscsi", properties={"target_iqn": IQN})) == set()
    assert named(folder, Connection(protocol="local", properties={"device_path": "/x"})) == set()


def test_a_map_names_its_paths_and_is_over_them(folder: FolderHost) -> None:
    folder.log_in("session1", IQN, sdb=1)
    folder.make_map("dm-0", "mpatha", "36sdb", "sdb")
    over, session = only(folder, LeftoverKind.MAP), only(folder)
    assert (over.wwid, over.parts[0].marks) == ("36sdb", session.parts[0].marks)
    assert session.parts[0].held == ("dm-0",)
    with pytest.raises(ConnectFailed, match="dm-0 is over sdb"):
        folder.leftovers.remove(session)

    folder.leftovers.remove(over)

    assert folder.tools.ran == [("multipath", "-f", "mpatha")]
    assert only(folder).parts[0].held == ()


def test_a_map_that_something_is_made_over_is_in_use(folder: FolderHost) -> None:
    folder.make_map("dm-0", "mpatha", "36sdb")
    (folder.sys / "block/dm-0/holders/dm-1").mkdir(parents=True)
    with pytest.raises(ConnectFailed, match="in use: dm-1 over it"):
        folder.leftovers.remove(only(folder, LeftoverKind.MAP))


def test_other_maps_of_the_device_mapper_are_not_listed(folder: FolderHost) -> None:
    write(folder.block("dm-0", "253:0") / "dm/uuid", "LVM-abc")
    write(folder.sys / "block/dm-0/dm/name", "vg-lv")
    assert folder.leftovers.list() == ()


@pytest.mark.parametrize(
    "said",
    [
        {"target_portal": HOST, "target_port": "4420", "nqn": NQN, "vol_uuid": UUID},
        {"portals": [[HOST, 4420, "tcp"]], "target_nqn": NQN, "vol_uuid": UUID.upper()},
        {"portals": [[HOST, 4420, "tcp"]], "target_nqn": NQN},
        {"volume_replicas": [{"portals": [[HOST, 4420, "tcp"]], "target_nqn": NQN}]},
    ],
)
def test_a_controller_goes_by_subsystem_and_address_and_its_namespace(
    folder: FolderHost, said: dict[str, object]
) -> None:
    folder.connect_nvme("nvme1", NQN, f"traddr={HOST},trsvcid=4420,src_addr=x", nvme1c1n1=UUID)
    thing = only(folder, LeftoverKind.CONTROLLER)
    marks = named(folder, Connection(protocol="nvmeof", properties=said))
    assert thing.marks <= marks
    assert thing.parts[0].name == "nvme1n1"
    assert thing.parts[0].marks & marks

    folder.leftovers.remove(thing)

    assert folder.tools.ran == [("nvme", "disconnect", "-d", "nvme1")]


def test_one_of_two_namespaces_is_named_by_its_id_alone(folder: FolderHost) -> None:
    other = UUID.replace("6", "7")
    folder.connect_nvme("nvme1", NQN, f"traddr={HOST},trsvcid=4420", nvme1n1=UUID, nvme1n2=other)
    first, second = only(folder, LeftoverKind.CONTROLLER).parts
    said = {"portals": [[HOST, 4420, "tcp"]], "target_nqn": NQN}
    unsaid = named(folder, Connection(protocol="nvmeof", properties=said))
    exact = named(folder, Connection(protocol="nvmeof", properties=said | {"vol_uuid": UUID}))
    assert not unsaid & (first.marks | second.marks)
    assert first.marks & exact
    assert not second.marks & exact


def test_a_controller_of_this_machine_is_not_listed(folder: FolderHost) -> None:
    folder.connect_nvme("nvme0", "nqn.of.a.disk", "0000:01:00.0", nvme0n1=UUID)
    assert folder.leftovers.list() == ()


def test_a_controller_that_got_a_namespace_is_another(folder: FolderHost) -> None:
    where = f"traddr={HOST},trsvcid=4420"
    folder.connect_nvme("nvme1", NQN, where, nvme1n1=UUID)
    one = only(folder, LeftoverKind.CONTROLLER)
    folder.connect_nvme("nvme1", NQN, where, nvme1n2=UUID.replace("6", "7"))
    two = only(folder, LeftoverKind.CONTROLLER)
    folder.leftovers.remove(one)
    folder.connect_nvme("nvme1", NQN, where, nvme1n3=UUID.replace("6", "8"))
    with pytest.raises(ConnectFailed, match="another by now"):
        folder.leftovers.remove(two)
    assert folder.tools.ran == []


def test_a_share_is_found_where_os_brick_mounts_it(folder: FolderHost) -> None:
    folder.mount("0:40", mount_point(BASE, EXPORT), "nfs4", EXPORT)
    folder.mount("0:41", "/home", "nfs4", "server:/home")
    thing = only(folder, LeftoverKind.MOUNT)
    connection = Connection(protocol="nfs", properties={"export": EXPORT, "name": "volume-1"})
    assert thing.marks == named(folder, connection)

    folder.leftovers.remove(thing)

    assert folder.tools.ran == [("umount", mount_point(BASE, EXPORT))]
    assert folder.leftovers.list() == ()


class Exports:
    """One target, and what is withdrawn of it."""

    def __init__(self) -> None:
        mark = target_mark(HOST, PORT, IQN)
        self.thing = Leftover(
            kind=LeftoverKind.EXPORT, name=IQN, about="a target", marks=frozenset({mark})
        )
        self.withdrawn: list[Leftover] = []

    def leftovers(self) -> tuple[Leftover, ...]:
        return (self.thing,)

    def remove(self, leftover: Leftover) -> None:
        self.withdrawn.append(leftover)


def test_exports_stand_beside_what_the_host_has(folder: FolderHost) -> None:
    exports = Exports()
    both = WithExports(folder.leftovers, exports)
    folder.log_in("session1", IQN, sdb=1)
    session, export = both.list()
    assert export is exports.thing
    (marks,) = both.marks([iscsi(IQN, 1)])
    assert session.marks | export.marks <= marks

    for thing in (session, export):
        both.remove(thing)

    assert folder.leftovers.list() == ()
    assert exports.withdrawn == [export]


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "image.raw"
    image.touch()
    os.truncate(image, 1 << 20)
    made = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=False
    )
    require(made.returncode == 0, "loop devices, as root")
    device = made.stdout.strip()
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


def test_the_kernel_says_who_has_a_device_open(loop_device: str) -> None:
    number = f"7:{os.minor(Path(loop_device).stat().st_rdev)}"
    kernel = Kernel()
    assert number in kernel.numbers(Path(loop_device).name)
    assert number not in kernel.users()
    with Path(loop_device).open("rb"):
        assert f"process {os.getpid()} " in kernel.users()[number]


def test_the_host_that_this_runs_on_can_be_read() -> None:
    kernel = Kernel()
    assert any(each.point == "/" for each in kernel.mounts())
