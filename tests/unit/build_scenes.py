"""Worlds in which an instance is to be built, was built, or was built half; what is asked for."""

from dataclasses import replace
from functools import cache
from typing import Any

from tests.fakes.world import World
from tests.unit.scenes import INSTANCE, VOLUME, Refusing, Trouble, operation, run
from worker.model.ids import AttachmentId, ImageId, VolumeId
from worker.model.image import GIB, Image
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.volume import Attachment, AttachmentStatus, Volume, VolumeStatus

IMAGE = ImageId("d15c0000-0000-4000-8000-000000000001")
KERNEL = ImageId("d15c0000-0000-4000-8000-000000000002")
RAMDISK = ImageId("d15c0000-0000-4000-8000-000000000003")
ISO = ImageId("d15c0000-0000-4000-8000-000000000004")
DATA_VOLUME = VolumeId("7a57e0d0-0a52-4c8c-8f5b-3d3e6d9e0003")
GIVEN = AttachmentId("a77ac4ed-0000-4000-8000-000000000007")
PORT = "90720000-0000-4000-8000-000000000001"


def empty() -> World:
    """A host without instances, images and volumes to be had."""
    found = World()
    formats = {IMAGE: "qcow2", KERNEL: "aki", RAMDISK: "ari", ISO: "iso"}
    for image, format_ in formats.items():
        found.images[image] = Image(id=image, name=format_, format=format_)
    for volume in (VOLUME, DATA_VOLUME):
        found.volumes[volume] = Volume(id=volume, size=GIB, status=VolumeStatus.AVAILABLE)
    return found


def arguments(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - as a caller of the bus would
    """An instance with a disk of each kind, a config drive and a kernel."""
    wanted = {
        "instance_uuid": INSTANCE,
        "name": "guest-1",
        "vcpus": 1,
        "memory_mb": 128,
        "image_ref": IMAGE,
        "root_gb": 2,
        "ephemeral_gb": [1],
        "swap_mb": 64,
        "block_devices": [{"source_type": "volume", "volume_id": VOLUME, "tag": "data"}],
        "networks": [{"port_id": PORT, "kind": "user"}],
        "config_drive": True,
        "kernel_id": KERNEL,
        "ramdisk_id": RAMDISK,
    }
    return {name: value for name, value in (wanted | changed).items() if value is not None}


def from_volume(**changed: Any) -> dict[str, Any]:  # noqa: ANN401
    """An instance that boots from a volume, has another, and nothing of this host."""
    disks = [
        {"source_type": "volume", "volume_id": DATA_VOLUME, "delete_on_termination": True},
        {"source_type": "volume", "volume_id": VOLUME, "boot_index": 0},
    ]
    wanted = {
        "instance_uuid": INSTANCE,
        "name": "guest-1",
        "vcpus": 1,
        "memory_mb": 128,
        "block_devices": disks,
    }
    return wanted | changed


def with_an_attachment() -> World:
    """The caller has reserved the volume for the instance that is to be."""
    found = empty()
    found.attachments[GIVEN] = Attachment(
        id=GIVEN, volume=VOLUME, instance=INSTANCE, status=AttachmentStatus.RESERVED
    )
    found.volumes[VOLUME] = replace(found.volumes[VOLUME], status=VolumeStatus.RESERVED)
    return found


def build(found: World, wanted: dict[str, Any], *watches: Any) -> Operation:  # noqa: ANN401
    return run(found, operation("build_instance", number=50, **wanted), *watches)


def built() -> World:
    """It was built, and runs."""
    return _built().copy()


@cache
def _built() -> World:
    found = empty()
    assert build(found, arguments()).fault is None
    return found


def built_from_volume() -> World:
    """It was built, and boots from a volume."""
    return _built_from_volume().copy()


@cache
def _built_from_volume() -> World:
    found = empty()
    assert build(found, from_volume()).fault is None
    return found


def built_and_shut_off() -> World:
    found = built()
    guest = found.guests[INSTANCE]
    guest.vm_state, guest.live = VmState.STOPPED, {}
    found.instances[INSTANCE] = replace(found.instances[INSTANCE], vm_state=VmState.STOPPED)
    return found


def half_built() -> World:
    """A build failed, and its way back too: it is stuck, and left things behind."""
    return _half_built().copy()


@cache
def _half_built() -> World:
    found = empty()
    start = Trouble(at=_calls_of_build() - 3)
    ended = build(found, arguments(), start, Refusing("config_drives.delete"))
    assert ended.state is OperationState.STUCK, ended
    return found


def _calls_of_build() -> int:
    """How many outside calls a build makes; the last three are the start and what follows it."""
    trouble = Trouble()
    build(empty(), arguments(), trouble)
    return trouble.count
