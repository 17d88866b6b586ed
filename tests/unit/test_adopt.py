"""Adopt: a domain that exists gets rows for itself and its disks, and marks for its next start."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.hypervisor import shown
from tests.fakes.world import World
from tests.unit import adopt_scenes, scenes
from tests.unit.adopt_scenes import HELD, ROOT, adopt, adopted, foreign, give, marking
from tests.unit.alias_scenes import CARD
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    OTHER_DEVICE,
    OTHER_VOLUME,
    VOLUME,
    Trouble,
    operation,
    run,
)
from worker.errors import DomainNotFound, HypervisorUnavailable, InstanceTaken
from worker.handlers.adopt_instance import AdoptInstance, adopt_instance
from worker.handlers.find_drift import FindDrift, find_drift
from worker.model.block_device import BlockDevice, Bus, DeviceStatus, DeviceType, SourceType
from worker.model.guest import GuestHostDevice, GuestInterface
from worker.model.host_device import parse_host_device
from worker.model.identity import serials
from worker.model.identity.marks import Adoption
from worker.model.ids import InstanceId
from worker.model.instance import Instance, VmState
from worker.model.operation import OperationState
from worker.model.places.address import DriveAddress


@pytest.fixture
def world() -> World:
    return adopt_scenes.guest_of_others()


@pytest.fixture
def bare() -> World:
    """A paused guest without disks, in nobody's care."""
    world = scenes.world(VmState.PAUSED)
    world.instances.clear()
    return world


def rows_of(world: World) -> dict[str, BlockDevice]:
    return {row.target: row for row in world.rows.values()}


@pytest.mark.parametrize("domain", [INSTANCE, "guest-1"])
def test_a_domain_is_adopted_by_name_or_uuid(bare: World, domain: str) -> None:
    guests = deepcopy(bare.guests)

    begun = adopt_instance(AdoptInstance(domain=domain), fakes.ports(bare))

    row = Instance(
        uuid=INSTANCE,
        host="host-1",
        name="guest-1",
        vm_state=VmState.PAUSED,
        adoption=Adoption(peripherals=True),
    )
    assert bare.instances == {INSTANCE: row}
    assert begun.answer.items() >= row.public().items()
    assert begun.operation is None
    assert bare.guests == guests


def test_a_domain_that_does_not_exist_is_refused(bare: World) -> None:
    with pytest.raises(DomainNotFound):
        adopt_instance(AdoptInstance(domain="nobody"), fakes.ports(bare))

    assert bare.instances == {}


def test_an_instance_is_adopted_once(world: World) -> None:
    adopt(world)
    before = world.copy()

    with pytest.raises(InstanceTaken):
        adopt_instance(AdoptInstance(domain="guest-1"), fakes.ports(world))

    assert world == before
    assert not world.pending


def test_each_disk_gets_a_row(world: World) -> None:
    adopt(world)

    rows = rows_of(world)
    root, data, volume = rows["vda"], rows["vdc"], rows["vdb"]
    assert {row.status for row in rows.values()} == {DeviceStatus.ATTACHED}
    assert (root.local, root.serial, root.alias) == (True, root.uuid, f"ua-{root.uuid}")
    assert (root.source_type, root.device_name) == (SourceType.BLANK, "/dev/vda")
    assert (data.local, data.serial, data.alias) == (True, "DATA-1", f"ua-{data.uuid}")
    assert (volume.volume, volume.serial, volume.alias) == (VOLUME, VOLUME, f"ua-{VOLUME}")
    assert (volume.attachment, volume.volume_size) == (HELD, 1)
    shown_at = {disk.target: disk.address for disk in world.guests[INSTANCE].persistent.values()}
    assert {row.target: row.address for row in rows.values()} == shown_at
    assert {row.target: row.boot_index for row in rows.values()} == {
        "vda": 0,
        "vdb": None,
        "vdc": None,
    }


def test_the_connection_of_a_volume_is_recorded_without_its_secrets(world: World) -> None:
    adopt(world)
    (record,) = fakes.ports(world).connections.list()
    assert record.volume == VOLUME
    assert "auth_password" not in record.connection.properties


def test_the_answer_says_what_is_done_to_each_disk(world: World) -> None:
    answer = adopt(world)
    disks = {disk["device_name"]: disk for disk in answer["block_devices"]}
    assert "next cold start" in answer["takes_effect"]
    assert disks["/dev/vda"]["written"]
    assert disks["/dev/vdc"]["former_alias"] == "ua-theirs"
    assert disks["/dev/vdc"]["former_serial"] == "DATA-1"
    assert answer["operation_id"] in world.operations


def test_a_dry_run_changes_nothing(world: World) -> None:
    before = world.copy()
    request = AdoptInstance(domain=INSTANCE, dry_run=True)
    begun = adopt_instance(request, fakes.ports(world))
    world.commit()
    assert world == before
    assert not world.operations
    assert begun.operation is None
    assert len(begun.answer["block_devices"]) == 3


@pytest.mark.parametrize("state", [VmState.STOPPED, VmState.ACTIVE])
def test_the_persistent_layout_is_marked_and_the_running_guest_is_not(state: VmState) -> None:
    world = adopt_scenes.adopting(state)
    live = dict(world.guests[INSTANCE].live)
    assert run(world, marking()).state is OperationState.SUCCEEDED
    rows = rows_of(world)
    for disk in world.guests[INSTANCE].persistent.values():
        row = rows[disk.target]
        assert (disk.alias, disk.serial) == (row.alias, row.serial)
    assert world.guests[INSTANCE].live == live
    assert world.events()[-2:] == ["instance.adopt.start", "instance.adopt.end"]


def test_a_guest_with_a_volume_is_taken_off_the_autostart_that_it_was_on(world: World) -> None:
    assert adopt(world)["taken_off_autostart"]
    assert world.guests[INSTANCE].autostart
    adopt_scenes.settle(world)
    assert not world.guests[INSTANCE].autostart
    assert world.instances[INSTANCE].adoption == replace(
        world.instances[INSTANCE].adoption or Adoption(), autostart=True
    )


def test_a_guest_without_volumes_stays_on_the_autostart(bare: World) -> None:
    bare.guests[INSTANCE].autostart = True
    give(bare, foreign("vda", ROOT, 0))
    assert not adopt(bare)["taken_off_autostart"]
    adopt_scenes.settle(bare)
    assert bare.guests[INSTANCE].autostart


def test_an_autostart_needs_an_operation_where_the_marks_need_none(bare: World) -> None:
    bare.guests[INSTANCE].autostart = True
    give(bare, foreign("vda", f"/dev/{VOLUME}", 0, alias=f"ua-{VOLUME}", serial=VOLUME))
    assert adopt(bare)["operation_id"] is not None
    adopt_scenes.settle(bare)
    assert not bare.guests[INSTANCE].autostart


def test_a_disk_that_changed_since_it_was_read_is_not_adopted() -> None:
    world = adopt_scenes.adopting()
    guest = world.guests[INSTANCE]
    guest.persistent["?vda"] = replace(guest.persistent["?vda"], serial="changed")
    ended = run(world, marking())
    assert ended.fault is not None
    assert ended.fault.code == "block_device.ambiguous"
    assert (world.rows, world.instances, world.connections) == ({}, {}, {})


STICK = GuestHostDevice(source=parse_host_device("usb:046d:c52b"), alias=None, address=None)
SHARED = GuestHostDevice(
    source=parse_host_device("pci:0000:03:00.0"), alias=None, address=CARD.address
)
HOLDER = InstanceId("ab5e0000-0000-4000-8000-00000000000f")


@pytest.mark.parametrize(
    ("device", "why"),
    [
        (STICK, "its address is of a form that is unknown here"),
        (
            GuestInterface(mac="52:54:00:00:00:09", alias=None, address=None),
            "its address is of a form that is unknown here",
        ),
        (SHARED, f"instance {HOLDER} has it"),
        (replace(SHARED, source=None), "a host device of this kind is unknown here"),
    ],
)
def test_what_cannot_have_a_row_is_left_out_and_the_rest_is_adopted(
    world: World, device: GuestInterface | GuestHostDevice, why: str
) -> None:
    world.peripherals[CARD.uuid] = replace(CARD, instance=HOLDER)
    persistent = world.guests[INSTANCE].persistent_peripherals
    count = len(persistent)
    persistent["?device"] = device
    answer = adopt(world)
    adopt_scenes.settle(world)
    assert list(answer["left_out"].values()) == [why]
    assert len(fakes.ports(world).peripherals.of_instance(INSTANCE)) == count
    after = world.guests[INSTANCE].persistent_peripherals.values()
    assert [one for one in after if one.alias is None] == [device]


def test_an_adoption_that_was_refused_at_the_last_moment_marks_nothing(world: World) -> None:
    before = world.copy()
    assert run(world, marking()).fault is None
    assert world == before


def test_one_that_has_lost_its_layout_is_not_adopted() -> None:
    world = adopt_scenes.adopting(VmState.ACTIVE)
    world.guests[INSTANCE].transient = True
    assert run(world, marking()).state is OperationState.FAILED
    assert (world.rows, world.instances) == ({}, {})


def test_a_layout_that_is_lost_meanwhile_needs_no_way_back() -> None:
    world = adopt_scenes.adopting(VmState.ACTIVE)

    class Losing(Trouble):
        def __str__(self) -> str:
            return "lost"

    def lose(step: str) -> Exception:
        world.guests[INSTANCE].transient = True
        return HypervisorUnavailable(step)

    ended = run(world, marking(), Losing(at=1, error=lose))
    assert ended.state is OperationState.FAILED
    assert world.rows == {}


def test_a_transient_domain_gets_rows_and_nothing_is_written() -> None:
    world = adopt_scenes.guest_of_others(VmState.ACTIVE)
    world.guests[INSTANCE].transient = True
    guests = deepcopy(world.guests)
    answer = adopt(world)
    assert len(world.rows) == 3
    assert not world.operations
    assert "transient" in answer["takes_effect"]
    assert not any(disk["written"] for disk in answer["block_devices"])
    assert world.guests == guests


def test_marks_that_are_there_need_no_operation(bare: World) -> None:
    give(bare, foreign("vda", f"/dev/{VOLUME}", 0, alias=f"ua-{VOLUME}", serial=VOLUME))
    answer = adopt(bare)
    assert answer["takes_effect"].startswith("at once")
    assert answer["operation_id"] is None


def two_volumes_that_look_alike(world: World) -> None:
    """Their ids differ in the last character only; the disks have no serials, but a history."""
    give(
        world,
        foreign("vda", f"/dev/{VOLUME}", 0, serial=VOLUME),
        foreign("vdb", f"/dev/{OTHER_VOLUME}", 1, serial=OTHER_VOLUME),
    )
    adopt(world)
    adopt_scenes.settle(world)
    assert run(world, operation("forget_instance", instance_uuid=INSTANCE)).fault is None


def test_of_two_volumes_whose_serials_would_begin_alike_one_has_its_rows(bare: World) -> None:
    two_volumes_that_look_alike(bare)
    give(
        bare,
        foreign("vda", f"/dev/{VOLUME}", 0),
        foreign("vdb", f"/dev/{OTHER_VOLUME}", 1),
    )
    adopt(bare)
    rows = rows_of(bare)
    assert [rows[name].volume for name in ("vda", "vdb")] == [VOLUME, OTHER_VOLUME]
    assert (rows["vda"].serial, rows["vda"].alias) == (VOLUME, f"ua-{VOLUME}")
    assert (rows["vdb"].serial, rows["vdb"].alias) == (rows["vdb"].uuid, f"ua-{OTHER_VOLUME}")


def test_serials_that_disks_have_stay_though_they_begin_alike(bare: World) -> None:
    give(
        bare,
        foreign("vda", f"/dev/{VOLUME}", 0, serial=VOLUME),
        foreign("vdb", f"/dev/{OTHER_VOLUME}", 1, serial=OTHER_VOLUME),
    )
    adopt(bare)
    assert {row.serial for row in bare.rows.values()} == {VOLUME, OTHER_VOLUME}


def test_a_serial_that_begins_like_one_that_comes_after_is_not_given(
    bare: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter(
        [VOLUME, DEVICE, f"{DEVICE[:-1]}9", OTHER_DEVICE.replace("c0ffee", "decaf0"), INSTANCE]
    )
    monkeypatch.setattr(serials, "new_uuid", lambda: next(ids))
    give(
        bare,
        foreign("vda", "/images/a", 0),
        foreign("vdb", "/images/b", 1),
        foreign("vdc", "/images/c", 2, serial=f"{VOLUME[:20]}-theirs"),
    )
    answer = adopt(bare)
    first = [disk["serial"] for disk in answer["block_devices"]][:2]
    assert first == [DEVICE, OTHER_DEVICE.replace("c0ffee", "decaf0")]


def label_it(world: World) -> None:
    world.labels["/images/config"] = "CONFIG-2"


def alias_it(world: World) -> None:
    guest = world.guests[INSTANCE]
    guest.persistent = {
        f"ua-config-{INSTANCE}": replace(disk, alias=f"ua-config-{INSTANCE}")
        for disk in guest.persistent.values()
    }


@pytest.mark.parametrize("mark", [label_it, alias_it])
def test_a_config_drive_gets_no_row(bare: World, mark: Callable[[World], None]) -> None:
    drive = foreign("sda", "/images/config", 0, bus=Bus.SATA, device_type=DeviceType.CDROM)
    give(bare, drive)
    bare.guests[INSTANCE].vm_state = VmState.STOPPED
    mark(bare)
    answer = adopt(bare)
    assert answer["left_out"] == {"sda": "it is a config drive"}
    assert not bare.rows


def test_an_empty_drive_and_a_floppy_have_rows(bare: World) -> None:
    cdrom = foreign("sda", "", 0, bus=Bus.SATA, device_type=DeviceType.CDROM)
    floppy = foreign("fda", "/images/fd", 1, bus=Bus.FDC, device_type=DeviceType.FLOPPY)
    give(bare, cdrom, floppy)
    adopt(bare)
    rows = rows_of(bare)
    assert rows["sda"].serial == rows["sda"].uuid
    assert rows["fda"].serial is None


def test_a_lun_has_no_serial(bare: World) -> None:
    give(bare, foreign("sda", "/dev/sdx", 0, bus=Bus.SCSI, device_type=DeviceType.LUN))
    adopt(bare)
    (row,) = bare.rows.values()
    assert (row.serial, row.unit) == (None, 0)


def test_two_controllers_units_are_kept_once(bare: World) -> None:
    second = DriveAddress(kind="scsi", controller=1, unit=0)
    give(
        bare,
        foreign("sda", "/images/a", 0, bus=Bus.SCSI),
        foreign("sdb", "/images/b", 0, bus=Bus.SCSI, address=second),
    )
    adopt(bare)
    assert {row.target: row.unit for row in bare.rows.values()} == {"sda": 0, "sdb": None}


def test_the_boot_order_says_what_is_booted_from(bare: World) -> None:
    give(
        bare,
        foreign("vda", "/images/a", 0, boot_order=2),
        foreign("vdb", "/images/b", 1, boot_order=1),
        foreign("vdc", "/images/c", 2),
    )
    adopt(bare)
    assert {row.target: row.boot_index for row in bare.rows.values()} == {
        "vda": 1,
        "vdb": 0,
        "vdc": None,
    }


@pytest.mark.parametrize(
    ("source", "serial", "ours"),
    [
        (f"/dev/{VOLUME}", VOLUME, True),
        (f"/dev/{VOLUME}", None, False),
        ("/dev/else", VOLUME, False),
        (f"/pools/volume-{OTHER_VOLUME}", OTHER_VOLUME, True),
        (f"/pools/volume-{OTHER_VOLUME}", VOLUME, False),
        (f"/pools/volume-{INSTANCE}", INSTANCE, False),
    ],
)
def test_a_volume_is_known_by_two_facts_that_agree(
    bare: World,
    source: str,
    serial: str | None,
    ours: bool,  # noqa: FBT001 - as the table has it
) -> None:
    adopt_scenes.hold(bare)
    give(bare, foreign("vda", source, 0, serial=serial))
    adopt(bare)
    (row,) = bare.rows.values()
    assert row.local is not ours


def test_source_and_target_tell_a_volume_that_was_here_before(bare: World) -> None:
    give(bare, foreign("vda", f"/dev/{VOLUME}", 0, serial=VOLUME))
    adopt(bare)
    adopt_scenes.settle(bare)
    (row,) = bare.rows.values()
    assert run(bare, operation("forget_instance", instance_uuid=INSTANCE)).fault is None
    give(bare, foreign("vda", f"/dev/{VOLUME}", 0))
    adopt(bare)
    (again,) = bare.rows.values()
    assert (again.volume, again.serial) == (VOLUME, VOLUME)
    assert again.uuid != row.uuid


def test_one_volume_is_behind_one_disk(bare: World) -> None:
    give(
        bare,
        foreign("vda", f"/dev/{VOLUME}", 0, serial=VOLUME),
        foreign("vdb", f"/dev/{VOLUME}", 1, serial=VOLUME),
    )
    adopt(bare)
    assert [row.volume for row in bare.rows.values()] == [VOLUME, None]


def test_an_attachment_that_leads_nowhere_yet_is_no_fact(bare: World) -> None:
    adopt_scenes.hold(bare)
    bare.attachments[HELD] = replace(bare.attachments[HELD], connection=None)
    give(bare, foreign("vda", "/dev/else", 0, serial=VOLUME))
    adopt(bare)
    bare.connected.clear()
    (row,) = bare.rows.values()
    assert row.local


def test_a_volume_that_is_not_on_this_host_is_no_fact(bare: World) -> None:
    adopt_scenes.hold(bare)
    bare.connected.clear()
    give(bare, foreign("vda", "/dev/else", 0, serial=VOLUME))
    adopt(bare)
    (row,) = bare.rows.values()
    assert row.local


def test_a_running_guest_lets_go_of_an_adopted_volume_that_bears_no_alias_yet() -> None:
    world = adopted(VmState.ACTIVE)
    row = rows_of(world)["vdb"]
    asked = operation(
        "detach_volume", 5, instance_uuid=INSTANCE, volume_id=VOLUME, bdm_uuid=row.uuid
    )
    assert run(world, asked).fault is None
    assert {disk.target for disk in world.guests[INSTANCE].live.values()} == {"vda", "vdc"}
    assert VOLUME not in world.connected


def test_an_adopted_volume_is_detached_after_the_cold_start() -> None:
    world = adopted()
    guest, row = world.guests[INSTANCE], rows_of(world)["vdb"]
    guest.vm_state, guest.live = VmState.ACTIVE, dict(guest.persistent)
    asked = operation(
        "detach_volume", 5, instance_uuid=INSTANCE, volume_id=VOLUME, bdm_uuid=row.uuid
    )
    assert run(world, asked).fault is None
    assert row.alias not in guest.live
    assert VOLUME not in world.connected
    assert not world.attachments


def test_an_adopted_volume_without_an_attachment_is_detached_too(bare: World) -> None:
    bare.guests[INSTANCE].vm_state = VmState.STOPPED
    give(bare, foreign("vda", f"/dev/{VOLUME}", 0, serial=VOLUME))
    adopt(bare)
    assert run(bare, marking()).fault is None
    (row,) = bare.rows.values()
    asked = operation(
        "detach_volume", 5, instance_uuid=INSTANCE, volume_id=VOLUME, bdm_uuid=row.uuid
    )
    assert run(bare, asked).fault is None
    assert bare.guests[INSTANCE].persistent == {}


@pytest.mark.parametrize("state", [VmState.STOPPED, VmState.ACTIVE])
def test_an_adopted_guest_is_no_drift(state: VmState) -> None:
    world = adopted(state)
    found = drift_of(world)
    assert found == []


def drift_of(world: World) -> list[str]:
    found = find_drift(FindDrift(instance_uuid=INSTANCE), fakes.ports(world))
    return [each["kind"] for each in found["differences"]]


def test_the_root_is_where_the_image_is() -> None:
    world = adopted()
    (disk,) = [one for one in world.guests[INSTANCE].persistent.values() if one.target == "vda"]
    assert shown(disk).source == ROOT


def test_an_empty_drive_is_no_volume_and_an_unknown_bus_is_left_out(bare: World) -> None:
    adopt_scenes.hold(bare)
    card = replace(foreign("mmcblk0", "/images/card", 0), bus="sd")  # type: ignore[arg-type]
    give(bare, foreign("sda", "", 1, bus=Bus.SATA, device_type=DeviceType.CDROM), card)
    assert "bus sd is unknown" in adopt(bare)["left_out"]["mmcblk0"]
    assert [row.local for row in bare.rows.values()] == [True]


def test_a_volume_that_is_named_twice_and_unknown_is_asked_for_once(bare: World) -> None:
    source = f"/pools/volume-{INSTANCE}"
    give(
        bare, *(foreign(f"vd{at}", source, place, serial=INSTANCE) for place, at in enumerate("ab"))
    )
    adopt(bare)
    assert [row.local for row in bare.rows.values()] == [True, True]
