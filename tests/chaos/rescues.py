"""Scenes about an instance that is rescued and brought back: every view of it, then and after.

It boots from a volume, and has a local disk and a config drive. It is used again from point to
point, for what a rescue is about is that it comes back as it was.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.chaos import instances
from tests.chaos.rescue_views import as_before, differences, files, row_of, texts
from tests.chaos.stage import SIZE, Case, Stage
from tests.guests import BOOT_TIMEOUT
from worker.cmd.demo.guest import KERNEL_ARGUMENTS

STABLE_USB = "rescue-usb"
STABLE_VIRTIO = "rescue-virtio"
LEGACY = "rescue-legacy"
SPEAKING = "rescue-speaking"
"""Its guest hears the power button, and says so; that of the others has nothing to boot."""

PASSWORD = "chaos-9f2"

_SPOKEN = {"kernel_id": "kernel", "ramdisk_id": "ramdisk"}
_PROPERTIES: Mapping[str, Mapping[str, str]] = {
    STABLE_USB: {"hw_rescue_bus": "usb"},
    STABLE_VIRTIO: {"hw_rescue_device": "disk", "hw_rescue_bus": "virtio"},
    LEGACY: {},
    SPEAKING: {"hw_rescue_bus": "usb", "os_command_line": KERNEL_ARGUMENTS, **_SPOKEN},
}


def at_rest(stage: Stage, *, running: bool, speaks: bool = False) -> Case:
    """Have an instance that is not in rescue; one that ``speaks`` is up, and hears its button."""
    name = f"rescued, running {running}, speaks {speaks}"
    if name not in stage.kept:
        stage.kept[name] = _built(stage, running=running, speaks=speaks)
    case = stage.kept[name]
    if speaks:
        case.guest.console.fresh(BOOT_TIMEOUT)
    return case


def in_rescue(stage: Stage, *, running: bool, speaks: bool = False) -> Case:
    """Have one that is in rescue, by an image that speaks if it does."""
    case = at_rest(stage, running=running, speaks=speaks)
    asked = rescuing(case, SPEAKING if speaks else STABLE_USB)
    stage.run("rescue_instance", **asked | {"clean_shutdown": False})
    if speaks:
        case.guest.console.fresh(BOOT_TIMEOUT)
    return case


def rescuing(case: Case, image: str) -> dict[str, Any]:
    """Return what the rescue is asked with."""
    return unrescuing(case) | {"rescue_image_ref": image, "rescue_password": PASSWORD}


def unrescuing(case: Case) -> dict[str, Any]:
    """Return what the end of it is asked with."""
    return {"instance_uuid": case.guest.uuid, "clean_shutdown": case.row["speaks"]}


def clear(stage: Stage, case: Case) -> None:
    """Bring the instance back if it is in rescue; that this works is part of the proof."""
    if row_of(stage, case)["rescue"] is not None:
        stage.run("unrescue_instance", instance_uuid=case.guest.uuid, clean_shutdown=False)
    wrong = differences(stage, case, as_before(case))
    assert not wrong, f"after an unrescue that followed: {wrong}"


def _built(stage: Stage, *, running: bool, speaks: bool) -> Case:
    _put_images(stage)
    case = instances.unbuilt(stage)
    wanted = {
        "instance_uuid": case.guest.uuid,
        "name": case.guest.name,
        "vcpus": 1,
        "memory_mb": 160 if speaks else 32,
        "ephemeral_gb": [1],
        "block_devices": [{"source_type": "volume", "volume_id": case.volume, "boot_index": 0}],
        "config_drive": True,
    }
    spoken = {"command_line": KERNEL_ARGUMENTS, **_SPOKEN} if speaks else {}
    stage.run("build_instance", **wanted | spoken)
    if not running:
        stage.run("stop_instance", instance_uuid=case.guest.uuid, clean_shutdown=False)
    row = {"speaks": speaks, "kept": texts(stage, case)[0], "files": files(stage, case)}
    return replace(case, running=running, row=row)


def _put_images(stage: Stage) -> None:
    """Once: an image never changes under its id."""
    folder = stage.served.state / "images"
    folder.mkdir(exist_ok=True)
    if (folder / LEGACY).exists():
        return
    for name, properties in _PROPERTIES.items():
        with (folder / name).open("wb") as file:
            file.truncate(SIZE)
        _describe(folder / name, "raw", properties)
    image = stage.make_guest.image
    for name, kind, content in (("kernel", "aki", image.kernel), ("ramdisk", "ari", image.initrd)):
        (folder / name).write_bytes(content.read_bytes())
        _describe(folder / name, kind, {})


def _describe(path: Path, disk_format: str, properties: Mapping[str, str]) -> None:
    said = {"disk_format": disk_format, "properties": properties}
    path.with_name(f"{path.name}.json").write_text(json.dumps(said))
