"""What each microversion of Nova shows of a server."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from worker.api.asked import Asked, Json, Version, Who
from worker.api.compute.server_view import Sight, detailed
from worker.api.compute.server_words import doing_of, host_id, hostname_of, status_of
from worker.api.offers import BUILT_IN
from worker.model.block_device import BlockDevice, Bus
from worker.model.ids import BlockDeviceId, ImageId, InstanceId, VolumeId, new_uuid
from worker.model.instance import Instance, TaskState, VmState
from worker.model.operation import Fault
from worker.model.specification import Specification
from worker.persistence.fleet import Server

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
IMAGE = ImageId(new_uuid())
INSTANCE = Instance(
    uuid=InstanceId(new_uuid()),
    host="host-1",
    name="My web.1",
    vm_state=VmState.ACTIVE,
    project_id="p",
    user_id="u",
    specification=Specification(vcpus=1, memory=256, image=IMAGE, image_properties={"a": "b"}),
)


def asked(minor: int, *, admin: bool = True) -> Asked:
    roles = frozenset({"admin" if admin else "reader"})
    who = Who(user_id="u", project_id="p", roles=roles)
    return Asked(who=who, request_id="r", version=Version(2, minor), base="http://api")


def seen(minor: int = 101, **changed: Any) -> Json:  # noqa: ANN401 - of any field
    instance = changed.pop("instance", INSTANCE)
    server = Server(instance=instance, created_at=AT, updated_at=None)
    given: dict[str, Any] = {
        "server": server,
        "flavor": BUILT_IN[0],
        "extended": True,
        "host_up": True,
    }
    return detailed(Sight(**(given | changed)), asked(minor))


def a_volume(**fields: Any) -> BlockDevice:  # noqa: ANN401 - of any field
    given: dict[str, Any] = {
        "uuid": BlockDeviceId(new_uuid()),
        "instance": INSTANCE.uuid,
        "volume": VolumeId(new_uuid()),
        "device_name": "/dev/vda",
        "bus": Bus.VIRTIO,
        "alias": "ua-1",
        "serial": "1",
        "address": None,
    }
    return BlockDevice(**(given | fields))


@pytest.mark.parametrize(
    ("minor", "fields"),
    [
        (
            3,
            {
                *("reservation_id", "launch_index", "hostname", "kernel_id", "ramdisk_id"),
                *("root_device_name", "user_data"),
            },
        ),
        (9, {"locked"}),
        (16, {"host_status"}),
        (19, {"description"}),
        (26, {"tags"}),
        (63, {"trusted_image_certificates"}),
        (73, {"locked_reason"}),
        (96, {"pinned_availability_zone"}),
        (100, {"scheduler_hints"}),
    ],
)
def test_fields_come_with_their_microversions(minor: int, fields: set[str]) -> None:
    came = set(seen(minor)) - set(seen(minor - 1))
    assert {name.removeprefix("OS-EXT-SRV-ATTR:") for name in came} == fields


def test_the_flavor_is_a_link_and_then_its_content() -> None:
    assert set(seen(46)["flavor"]) == {"id", "links"}
    flavor = seen(47)["flavor"]
    assert "id" not in flavor
    assert (flavor["original_name"], flavor["ram"], flavor["extra_specs"]) == ("m1.tiny", 256, {})


def test_the_images_properties_come_with_298() -> None:
    assert "properties" not in seen(97)["image"]
    assert seen(98)["image"]["properties"] == {"a": "b"}


def test_whether_a_volume_goes_with_the_server_comes_with_23() -> None:
    row = a_volume(delete_on_termination=True)
    volumes = "os-extended-volumes:volumes_attached"
    assert seen(2, devices=[row])[volumes] == [{"id": row.volume}]
    known = [{"id": row.volume, "delete_on_termination": True}]
    assert seen(3, devices=[row])[volumes] == known


def test_a_server_that_boots_from_a_volume_has_no_image() -> None:
    assert seen(devices=[a_volume(boot_index=0)])["image"] == ""
    assert seen(devices=[a_volume(boot_index=1)])["image"]["id"] == IMAGE


def test_times_are_novas() -> None:
    found = seen()
    assert (found["created"], found["updated"]) == ("2026-01-02T03:04:05Z",) * 2
    assert found["OS-SRV-USG:launched_at"] == "2026-01-02T03:04:05.678901"
    assert found["OS-SRV-USG:terminated_at"] is None
    assert seen(launched=False)["OS-SRV-USG:launched_at"] is None


def test_a_fault_is_told_of_what_is_in_error_alone() -> None:
    fault = Fault(code="image.refused", message="no")
    assert "fault" not in seen(fault=fault)
    broken = replace(INSTANCE, vm_state=VmState.ERROR)
    assert seen(fault=fault, instance=broken)["fault"] == {
        "code": 500,
        "message": "no",
        "created": "2026-01-02T03:04:05Z",
        "details": "image.refused",
    }


def test_who_may_not_know_the_host_is_told_none() -> None:
    found = seen(extended=False, host_up=None)
    assert "host-1" not in repr(found)
    assert "host_status" not in found
    assert seen(host_up=False)["host_status"] == "DOWN"


def test_a_hosts_word_is_another_for_each_project() -> None:
    assert host_id("host-1", "p") == host_id("host-1", "p")
    assert len({host_id("host-1", "p"), host_id("host-1", "q"), host_id("host-2", "p")}) == 3


@pytest.mark.parametrize("state", list(VmState))
@pytest.mark.parametrize("task", [None, TaskState.REBOOTING, TaskState.REBOOTING_HARD])
def test_a_status_finds_what_has_it(state: VmState, task: TaskState | None) -> None:
    status = status_of(replace(INSTANCE, vm_state=state, task_state=task))
    doing = doing_of(status)
    assert doing is not None
    assert doing.state == state
    assert task is None or task not in doing.other_tasks
    assert not doing.tasks or task in doing.tasks


def test_a_host_name_is_made_of_the_name() -> None:
    assert hostname_of(INSTANCE.name) == "my-web-1"
    assert hostname_of("Ünter_x!") == "nter-x"
