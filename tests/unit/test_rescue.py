"""Rescue: what is refused before a guest is touched, what it is like, what it leaves behind."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.fakes.world import World
from tests.unit import power_scenes, rescue_scenes, scenes
from tests.unit.rescue_runs import (
    ALIAS,
    CONFIG,
    call,
    carry_out,
    changed,
    image_gone,
    images_away,
    instance,
    live,
    refused,
    steps,
    with_properties,
)
from tests.unit.rescue_scenes import PASSWORD, USB_IMAGE, asked, back
from tests.unit.runs import fault_of
from tests.unit.scenes import DEVICE, INSTANCE, VOLUME, Crash, Refusing, Trouble, operation, run
from worker.errors import (
    AttachmentNotFound,
    BusUnsupported,
    ConnectFailed,
    DeviceTypeUnsupported,
    DomainNotFound,
    HypervisorRefused,
    ImageNotFound,
    ImageRefused,
    ImagesUnavailable,
    InstanceRescued,
    InstanceWrongState,
    LocalDiskUnavailable,
    MachineUnsupported,
    NoFreePort,
    NoRoom,
    NotRescuable,
    WorkerError,
)
from worker.model.block_device import Bus, DeviceStatus
from worker.model.instance import TaskState, VmState
from worker.model.operation import Operation, OperationState
from worker.model.places.address import UsbAddress


def test_in_rescue_every_disk_is_where_it_was_and_the_rescue_disk_comes_last() -> None:
    world = rescue_scenes.built()
    before, kept = live(world), dict(world.guests[INSTANCE].persistent)
    carry_out(world, asked())
    unordered = [replace(disk, boot_order=None) for disk in before]
    *own, last = live(world)
    assert own == unordered
    assert (last.alias, last.boot_order) == (ALIAS, 1)
    assert last.serial not in {disk.serial for disk in before}
    assert world.guests[INSTANCE].persistent == kept


def test_the_row_says_so_from_when_on_and_what_it_was_before() -> None:
    world = rescue_scenes.on()
    begun = world.now
    carry_out(world, asked())
    rescue = instance(world).rescue
    assert rescue is not None
    assert instance(world).vm_state is VmState.RESCUED
    assert rescue.since is not None
    assert begun < rescue.since <= world.now
    assert rescue.runs
    assert world.events()[-2:] == ["instance.rescue.start", "instance.rescue.end"]


def test_all_that_can_be_refused_or_takes_long_comes_before_the_guest_is_asked() -> None:
    world = rescue_scenes.built()
    made = steps(world, carry_out(world, asked(password=PASSWORD)))
    off = made.index("power.ask_off")
    for name in ("rescues.check", "images.fetch", "local_disks.create", "config_drives.write"):
        assert max(at for at, step in enumerate(made) if step == name) < off
    assert made[off:] == ["power.ask_off", "power.wait_off", "rescues.start"]


def test_a_guest_that_is_deaf_is_cut() -> None:
    world = rescue_scenes.on()
    world.guests[INSTANCE].deaf = True
    made = steps(world, carry_out(world, asked()))
    assert made[-4:] == ["power.ask_off", "power.wait_off", "power.cut", "rescues.start"]


def test_without_a_clean_shutdown_it_is_not_asked() -> None:
    world = rescue_scenes.on()
    carry_out(world, asked(clean_shutdown=False))
    assert world.guests[INSTANCE].asked == 0


def test_without_an_image_the_hosts_is_taken_or_its_own() -> None:
    world = rescue_scenes.built()
    carry_out(world, asked(None))
    rescue, made_as = instance(world).rescue, instance(world).specification
    assert rescue is not None
    assert made_as is not None
    assert rescue.image == made_as.image


# What is refused before the guest is touched.


def no_attachment(world: World) -> None:
    world.attachments.clear()


def reservation(world: World) -> None:
    scenes.reserve(world, scenes.OTHER_VOLUME, scenes.OTHER_DEVICE)


def volume_missing(world: World) -> None:
    world.rows[DEVICE] = replace(world.rows[DEVICE], status=DeviceStatus.MISSING)


def evil(world: World) -> None:
    with_properties(world, hw_rescue_bus="usb", evil="yes")


def unknown_bus(world: World) -> None:
    with_properties(world, hw_rescue_bus="firewire")


def unknown_device(world: World) -> None:
    with_properties(world, hw_rescue_device="tape")


def no_such_pair(world: World) -> None:
    with_properties(world, hw_rescue_device="cdrom", hw_rescue_bus="virtio")


def of_volumes(world: World) -> None:
    with_properties(world, img_block_device_mapping="[{}]")


def no_room(world: World) -> None:
    world.cached.add(USB_IMAGE)
    world.room = 5


def no_free_port(world: World) -> None:
    guest = world.guests[INSTANCE]
    (some,) = guest.persistent.values()
    for port in range(1, 5):
        alias, address = f"ua-usb-{port}", UsbAddress(port=port)
        more = replace(some, alias=alias, target=f"sd{'abcd'[port - 1]}", address=address)
        guest.persistent[alias] = guest.live[alias] = replace(more, bus=Bus.USB)


def on_xen(world: World) -> None:
    world.guests[INSTANCE].kind = "xen"


def transient(world: World) -> None:
    world.guests[INSTANCE].transient = True


def saved(world: World) -> None:
    world.guests[INSTANCE].kept = ("a managed save",)


def domain_gone(world: World) -> None:
    world.guests.clear()


def releasing(world: World) -> None:
    changed(world, task_state=TaskState.RELEASED)


def kernel_gone(world: World) -> None:
    with_properties(world, hw_rescue_bus="usb", kernel_id=rescue_scenes.PLAIN_IMAGE[:-1] + "f")


REFUSED = [
    (no_attachment, AttachmentNotFound),
    (reservation, NotRescuable),
    (volume_missing, NotRescuable),
    (image_gone, ImageNotFound),
    (images_away, ImagesUnavailable),
    (evil, ImageRefused),
    (unknown_bus, BusUnsupported),
    (unknown_device, DeviceTypeUnsupported),
    (no_such_pair, DeviceTypeUnsupported),
    (of_volumes, NotRescuable),
    (no_room, NoRoom),
    (no_free_port, NoFreePort),
    (on_xen, MachineUnsupported),
    (transient, InstanceWrongState),
    (saved, HypervisorRefused),
    (domain_gone, DomainNotFound),
    (releasing, InstanceWrongState),
    (kernel_gone, ImageNotFound),
]


@pytest.mark.parametrize(("spoil", "error"), REFUSED)
def test_what_can_be_refused_is_refused_before_the_guest_is_touched(
    spoil: Callable[[World], None], error: type[WorkerError]
) -> None:
    world = rescue_scenes.boots_from_volume()
    spoil(world)
    refused(world, asked(), error)


def test_a_local_disk_whose_file_is_gone_is_said_before_too() -> None:
    world = rescue_scenes.on()
    world.files.clear()
    refused(world, asked(), LocalDiskUnavailable)


def test_an_adopted_instance_has_no_image_of_its_own_and_no_drive_for_a_password() -> None:
    world = rescue_scenes.boots_from_volume()
    refused(world, asked(None), NotRescuable)
    message = refused(world, asked(number=61, password=PASSWORD), NotRescuable)
    assert PASSWORD not in message


def test_one_that_is_in_rescue_is_not_rescued_again() -> None:
    world = rescue_scenes.rescued()
    assert "unrescue it first" in refused(world, asked(number=61), InstanceRescued)


@pytest.mark.parametrize(
    "wanted",
    [
        operation("start_instance", instance_uuid=INSTANCE),
        operation("stop_instance", instance_uuid=INSTANCE),
        operation("reboot_instance", instance_uuid=INSTANCE),
        operation("reboot_instance", instance_uuid=INSTANCE, hard=True),
        operation("forget_instance", instance_uuid=INSTANCE),
        operation("release_instance", instance_uuid=INSTANCE),
    ],
    ids=["start", "stop", "reboot", "reboot hard", "forget", "release"],
)
@pytest.mark.parametrize("runs", [True, False])
def test_in_rescue_its_power_and_its_host_stay(wanted: Operation, *, runs: bool) -> None:
    world = rescue_scenes.rescued() if runs else rescue_scenes.rescued_and_off()
    refused(world, wanted, InstanceRescued)


# The way back of a rescue.


def test_a_rescue_image_that_does_not_start_leaves_the_guest_running_as_before() -> None:
    world, before = rescue_scenes.built(), rescue_scenes.built()
    ended = run(world, asked(password=PASSWORD), Refusing("rescues.start"))
    assert ended.state is OperationState.FAILED
    assert world == before
    assert world.guests[INSTANCE].asked == 1
    assert world.events()[-2:] == ["instance.rescue.start", "instance.rescue.error"]


def test_a_guest_that_was_off_stays_off() -> None:
    world, before = rescue_scenes.off(), rescue_scenes.off()
    ended = run(world, asked(), Refusing("rescues.start"))
    assert ended.state is OperationState.FAILED
    assert world == before
    assert "power.start" not in steps(world, ended)


def test_a_guest_that_was_in_error_is_so_again() -> None:
    world = rescue_scenes.on()
    changed(world, vm_state=VmState.ERROR)
    before = world.copy()
    run(world, asked(), Refusing("rescues.start"))
    assert world == before


def test_one_that_is_asked_off_and_takes_its_time_is_waited_for_before_it_is_started() -> None:
    world, before = rescue_scenes.on(), rescue_scenes.on()
    at = call(rescue_scenes.on(), asked(), "power.ask_off")
    ended = run(world, asked(), Trouble(at=at, after=True))
    assert ended.state is OperationState.FAILED
    made = steps(world, ended)
    assert made.index("power.wait_off") < made.index("power.start")
    assert world == before


def test_of_a_guest_that_is_off_no_volume_is_left_out() -> None:
    world = rescue_scenes.off_on_a_booted_host()
    world.unreachable.add(VOLUME)
    changed_root = replace(world.rows[DEVICE], boot_index=None)
    world.rows[DEVICE] = changed_root
    before = world.copy()
    assert fault_of(run(world, asked())).code == ConnectFailed.code
    assert rescue_scenes.restored(world) == rescue_scenes.restored(before)
    assert world.rows[DEVICE].status is DeviceStatus.ATTACHED


def test_a_host_that_boots_between_two_runs_has_its_guest_back_without_what_is_away() -> None:
    world = power_scenes.on()
    rescue_scenes.slow(rescue_scenes.with_images(world))
    at = call(world.copy(), asked(), "power.wait_off")
    with pytest.raises(Crash):
        run(world, asked(), Trouble(at=at, after=True, error=Crash))
    world.crash()
    world.connected.clear()
    world.unreachable.add(power_scenes.DATA_VOLUME)
    ended = run(world, asked())
    assert fault_of(ended).code == ConnectFailed.code
    assert world.guests[INSTANCE].running
    assert ALIAS not in world.guests[INSTANCE].live
    assert world.rows[power_scenes.DATA].status is DeviceStatus.MISSING
    assert instance(world).rescue is None


# A password.


def test_a_password_is_on_the_rescue_drive_and_nowhere_else() -> None:
    world = rescue_scenes.rescued_with_a_password()
    assert PASSWORD in str(world.rescue_drives[INSTANCE])
    guest = world.guests[INSTANCE]
    assert guest.live[CONFIG].source.name == f"/config-rescue/{INSTANCE}"
    assert guest.persistent[CONFIG].source.name == f"/config/{INSTANCE}"
    world.rescue_drives.clear()
    ended = world.operations[asked().id]
    told = [repr(update) for update in world.told]
    assert PASSWORD not in repr((world, ended.public(), told, world.steps[ended.id]))


def test_it_is_gone_with_the_rescue() -> None:
    world = rescue_scenes.rescued_with_a_password()
    carry_out(world, back())
    assert world.rescue_drives == {}
    assert world.guests[INSTANCE].live[CONFIG].source.name == f"/config/{INSTANCE}"


def test_without_one_the_guest_keeps_its_own_drive() -> None:
    world = rescue_scenes.built()
    carry_out(world, asked())
    assert world.rescue_drives == {}
    assert world.guests[INSTANCE].live[CONFIG].source.name == f"/config/{INSTANCE}"


def test_an_error_does_not_tell_it() -> None:
    world = rescue_scenes.built()
    ended = run(world, asked(password=PASSWORD), Refusing("rescues.start"))
    assert PASSWORD not in repr((ended.public(), world.told, world.rescue_drives))
