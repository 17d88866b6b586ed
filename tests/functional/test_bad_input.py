"""Bad input: a clear error, and nothing changed, whichever part would have choked on it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.guests import Guest, GuestMaker
from tests.rig import Rig
from worker.errors import WorkerError
from worker.model.ids import new_uuid

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A reservation that must be refused: what is wrong with it, and by which code."""

    code: str
    arguments: dict[str, Any] = field(default_factory=dict)


RESERVATIONS = {
    "unknown instance": Wrong(code="instance.not_found", arguments={"instance_uuid": UNKNOWN}),
    "unknown volume": Wrong(code="volume.not_found", arguments={"volume_id": UNKNOWN}),
    "malformed uuid": Wrong(code="request.malformed", arguments={"volume_id": "x"}),
    "no such bus": Wrong(code="block_device.bus_unsupported", arguments={"disk_bus": "xen"}),
    "no controller": Wrong(code="block_device.bus_unsupported", arguments={"disk_bus": "scsi"}),
    "no such type": Wrong(code="block_device.type_unsupported", arguments={"device_type": "tape"}),
    "name malformed": Wrong(code="block_device.name_malformed", arguments={"device": "disk"}),
    "name of another bus": Wrong(
        code="block_device.name_malformed", arguments={"device": "/dev/sdb"}
    ),
    "name taken": Wrong(code="block_device.name_taken", arguments={"device": "/dev/vda"}),
    "extra argument": Wrong(code="request.malformed", arguments={"colour": "red"}),
    "wrong type": Wrong(code="request.malformed", arguments={"multiattach": "yes"}),
}


@pytest.fixture
def scene(rig: Rig, make_guest: GuestMaker) -> tuple[Rig, Guest, dict[str, Any]]:
    """A guest without a scsi controller, with one volume reserved as /dev/vda."""
    guest = make_guest(booted=False, scsi=False, ports=3)
    rig.call("adopt_instance", domain=guest.uuid)
    row = rig.reserve(guest.uuid, rig.volume())
    return rig, guest, row


def test_reservations_that_cannot_be(scene: tuple[Rig, Guest, dict[str, Any]]) -> None:
    rig, guest, row = scene
    free = rig.volume()
    before = (guest.domain.XMLDesc(), rig.call("list_block_devices", instance_uuid=guest.uuid))
    for what, wrong in RESERVATIONS.items():
        asked = {"instance_uuid": guest.uuid, "volume_id": free} | wrong.arguments
        with pytest.raises(WorkerError) as caught:
            rig.call("reserve_block_device_name", **asked)
        assert caught.value.code == wrong.code, what
        assert str(caught.value), what
    with pytest.raises(WorkerError) as caught:
        rig.reserve(guest.uuid, row["volume_id"])
    assert caught.value.code == "volume.already_attached"
    after = (guest.domain.XMLDesc(), rig.call("list_block_devices", instance_uuid=guest.uuid))
    assert after == before
    assert rig.call("get_volume", volume_id=free)["status"] == "available"


def test_no_port_is_left(scene: tuple[Rig, Guest, dict[str, Any]]) -> None:
    rig, guest, _row = scene
    for _ in range(2):
        rig.reserve(guest.uuid, rig.volume())
    with pytest.raises(WorkerError) as caught:
        rig.reserve(guest.uuid, rig.volume())
    assert caught.value.code == "block_device.no_free_port"


def test_missing_arguments_and_unknown_methods_are_named(rig: Rig) -> None:
    with pytest.raises(WorkerError) as caught:
        rig.call("reserve_block_device_name", instance_uuid=UNKNOWN)
    assert caught.value.code == "request.malformed"
    assert "volume_id" in str(caught.value)
    with pytest.raises(WorkerError) as caught:
        rig.call("make_coffee")
    assert caught.value.code == "request.method_unknown"


@pytest.mark.parametrize("method", ["attach_volume", "detach_volume"])
def test_an_operation_that_is_malformed_is_refused_and_told(rig: Rig, method: str) -> None:
    operation = rig.cast(method, instance_uuid=UNKNOWN, shape="round")
    told = rig.wait_for_event("operation.refused", operation)["payload"]
    assert told["fault"]["code"] == "request.malformed"
    assert told["instance_uuid"] == UNKNOWN


def test_a_volume_in_use_cannot_go_to_a_second_instance(rig: Rig, make_guest: GuestMaker) -> None:
    first, second = make_guest(booted=False), make_guest(booted=False)
    for guest in (first, second):
        rig.call("adopt_instance", domain=guest.uuid)
    row = rig.attach(first.uuid, rig.volume())
    with pytest.raises(WorkerError) as caught:
        rig.reserve(second.uuid, row["volume_id"])
    assert caught.value.code == "volume.in_use"
    refused = rig.run("delete_volume", volume_id=row["volume_id"])
    assert refused["fault"]["code"] == "volume.in_use"


def test_files_that_are_no_volume(rig: Rig, tmp_path: Path) -> None:
    empty, odd = tmp_path / "empty", tmp_path / "odd"
    empty.touch()
    odd.write_bytes(b"x" * 513)
    for path in (tmp_path / "missing", empty, odd, tmp_path):
        ended = rig.run("create_volume", volume_id=new_uuid(), path=str(path))
        assert ended["fault"]["code"] == "volume.file_unusable", path
    assert rig.call("list_volumes") == []


def test_a_volume_that_shrank_is_not_shown_to_the_guest(
    rig: Rig, make_guest: GuestMaker, tmp_path: Path
) -> None:
    guest, file, volume = make_guest(booted=False), tmp_path / "volume", new_uuid()
    file.write_bytes(bytes(1 << 20))
    rig.call("adopt_instance", domain=guest.uuid)
    assert rig.run("create_volume", volume_id=volume, path=str(file))["fault"] is None
    row = rig.reserve(guest.uuid, volume)
    file.write_bytes(bytes(1 << 19))
    xml = guest.domain.XMLDesc()
    ended = rig.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])
    assert ended["state"] == "failed"
    assert ended["fault"]["code"] in ("volume.wrong_device", "connector.failed")
    assert guest.domain.XMLDesc() == xml
    assert rig.call("list_block_devices", instance_uuid=guest.uuid) == []
    assert rig.call("get_volume", volume_id=volume)["status"] == "available"


def test_a_device_of_another_instance_is_not_touched(rig: Rig, make_guest: GuestMaker) -> None:
    first, second = make_guest(booted=False), make_guest(booted=False)
    for guest in (first, second):
        rig.call("adopt_instance", domain=guest.uuid)
    row = rig.reserve(first.uuid, rig.volume())
    ended = rig.run("attach_volume", instance_uuid=second.uuid, bdm_uuid=row["uuid"])
    assert ended["fault"]["code"] == "block_device.wrong_state"
    (kept,) = rig.call("list_block_devices", instance_uuid=first.uuid)
    assert kept["status"] == "reserved"


def test_adopting_what_is_not_there_or_twice(rig: Rig, make_guest: GuestMaker) -> None:
    guest = make_guest(booted=False)
    with pytest.raises(WorkerError) as caught:
        rig.call("adopt_instance", domain="nobody")
    assert caught.value.code == "domain.not_found"
    rig.call("adopt_instance", domain=guest.uuid)
    with pytest.raises(WorkerError) as caught:
        rig.call("adopt_instance", domain=guest.uuid)
    assert caught.value.code == "instance.taken"
