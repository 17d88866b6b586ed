"""What takes long: waited for while it may come back, named while it runs, marked when late."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.functional.builders import put_image
from tests.functional.rigs import MakeRig
from tests.guests import GuestMaker
from tests.outages import Hold, Side
from tests.rig import MIB, Json, Rig
from worker.errors import HypervisorUnavailable, VolumeBusy
from worker.model.ids import new_uuid


class Trouble:
    """A watch under which one kind of call is slow, or fails so many times."""

    def __init__(self, step: str, *, failures: int = 0, seconds: float = 0.0) -> None:
        self.step = step
        self.failures = failures
        self.seconds = seconds

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if name == self.step:
            time.sleep(self.seconds)
            self.failures -= 1
            if self.failures >= 0:
                raise HypervisorUnavailable("libvirt does not answer")
        yield


def attach(rig: Rig, make_guest: GuestMaker) -> Json:
    """Reserve and attach on a guest that is shut off; return the operation at its end."""
    guest = make_guest(booted=False)
    rig.call("adopt_instance", domain=guest.uuid)
    row = rig.reserve(guest.uuid, rig.volume())
    return rig.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])


def outcomes(ended: Json, step: str = "disks.attach") -> list[str]:
    return [found["outcome"] for found in ended["steps"] if found["name"] == step]


def test_an_operation_waits_for_what_comes_back(make_rig: MakeRig, make_guest: GuestMaker) -> None:
    rig = make_rig(watches=(Trouble("disks.attach", failures=2),))
    ended = attach(rig, make_guest)
    assert (ended["state"], ended["attempts"], ended["late"]) == ("succeeded", 0, False)
    assert outcomes(ended) == ["failed", "failed", "done"]


def test_without_patience_it_fails_and_leaves_nothing(
    make_rig: MakeRig, make_guest: GuestMaker
) -> None:
    rig = make_rig(watches=(Trouble("disks.attach", failures=1),), outage_patience=0.0)
    ended = attach(rig, make_guest)
    assert (ended["state"], ended["fault"]["code"]) == ("failed", HypervisorUnavailable.code)
    assert rig.call("list_block_devices", instance_uuid=ended["instance_uuid"]) == []


def test_it_waits_no_longer_than_its_deadline(make_rig: MakeRig, make_guest: GuestMaker) -> None:
    trouble = Trouble("disks.attach", failures=1_000_000)
    rig = make_rig(watches=(trouble,), outage_patience=86_400.0, operation_timeout=1.0)
    ended = attach(rig, make_guest)
    assert (ended["state"], ended["fault"]["code"]) == ("failed", HypervisorUnavailable.code)


def test_whoever_shares_a_volume_waits_no_longer_than_its_deadline(
    make_rig: MakeRig, make_guest: GuestMaker
) -> None:
    hold = Hold()
    rig = make_rig(watches=(hold,), operation_timeout=2.0)
    volume, guests = new_uuid(), [make_guest(booted=False) for _ in range(2)]
    rig.run("create_volume", volume_id=volume, size=MIB, multiattach=True)
    asked = []
    for guest in guests:
        rig.call("adopt_instance", domain=guest.uuid)
        row = rig.reserve(guest.uuid, volume, multiattach=True)
        asked.append({"instance_uuid": guest.uuid, "bdm_uuid": row["uuid"]})
    with hold.at("connector.connect", Side.BEFORE) as held:
        hangs = rig.cast("attach_volume", **asked[0])
        held.wait()
        waits = rig.run("attach_volume", **asked[1])
    assert (waits["state"], waits["fault"]["code"]) == ("failed", VolumeBusy.code)
    assert rig.end_of(hangs)["state"] == "succeeded"


def test_a_slow_step_is_named_and_a_late_operation_marked(
    make_rig: MakeRig, make_guest: GuestMaker, caplog: pytest.LogCaptureFixture
) -> None:
    trouble = Trouble("disks.attach", seconds=4.0)
    with caplog.at_level(logging.WARNING):
        rig = make_rig(watches=(trouble,), slow_step=0.5, operation_timeout=1.0)
        ended = attach(rig, make_guest)
    assert (ended["state"], ended["late"]) == ("succeeded", True)
    said = [record.getMessage() for record in caplog.records]
    for what in ("step slow: ", "operation late: "):
        (line,) = [line for line in said if line.startswith(what)]
        assert f"operation={ended['operation_id']}" in line
        assert "step=disks.attach" in line


def test_a_reservation_that_nobody_came_for_is_released(
    make_rig: MakeRig, make_guest: GuestMaker
) -> None:
    rig = make_rig(reservation_ttl=0.5)
    guest = make_guest(booted=False)
    rig.call("adopt_instance", domain=guest.uuid)
    row = rig.reserve(guest.uuid, rig.volume())
    told = rig.wait_for_event("block_device.released")
    assert told["payload"]["block_device"]["uuid"] == row["uuid"]
    assert rig.call("list_block_devices", instance_uuid=guest.uuid) == []
    asked = rig.call("list_operations", instance_uuid=guest.uuid)
    assert [operation["method"] for operation in asked] == ["release_lapsed_reservation"]


def test_a_rescue_that_lasts_too_long_is_ended_and_the_guest_is_as_it_was(
    make_rig: MakeRig, make_guest: GuestMaker, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"\0" * MIB)
    images = tmp_path / "images"
    images.mkdir()
    put_image(images, "rescue", empty, "raw", properties={"hw_rescue_bus": "virtio"})
    rig = make_rig(rescue_timeout=0.5, hypervisor__shutdown_timeout=0.5, image__folder=str(images))
    guest = make_guest(booted=False)
    rig.call("adopt_instance", domain=guest.uuid)
    rig.run("rescue_instance", instance_uuid=guest.uuid, rescue_image_ref="rescue")
    told = rig.wait_for_event("instance.unrescue.end")["payload"]
    assert (told["instance_uuid"], told["vm_state"]) == (guest.uuid, "stopped")
    assert rig.call("get_operation", operation_id=told["operation_id"])["own"]
    assert not guest.runs
