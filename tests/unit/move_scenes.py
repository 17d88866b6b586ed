"""An instance that was built, on its way to a host with another folder of copies."""

import json
from dataclasses import replace
from functools import cache

from tests.fakes.images import copy_path, disk_path
from tests.fakes.world import World
from tests.unit import build_scenes
from tests.unit.adopt_scenes import let_go
from tests.unit.build_scenes import IMAGE, KERNEL, RAMDISK
from tests.unit.scenes import INSTANCE, operation
from worker.model.instance import VmState
from worker.model.moving.beside import Beside
from worker.model.operation import Operation

ELSEWHERE = "/copies"
CONSOLE = "/elsewhere/console.log"
NVRAM = "/nvram/guest-1"
OWN_NVRAM = f"/local/{INSTANCE}/nvram.fd"


def shut_off() -> World:
    """It was built with a disk of each kind, a config drive and a kernel; its guest is off."""
    return _off(build_scenes.built())


def to_import() -> tuple[World, str]:
    """A host to which the folder of the released instance was copied, without its config drive."""
    target, document = _to_import()
    return target.copy(), document


@cache
def _to_import() -> tuple[World, str]:
    return _other_host(shut_off())


def small() -> World:
    """It has no disk but its root, for what tries every pair of calls."""
    return _small().copy()


@cache
def _small() -> World:
    world = build_scenes.empty()
    none = dict.fromkeys(("ephemeral_gb", "swap_mb", "block_devices", "networks", "ramdisk_id"))
    assert build_scenes.build(world, build_scenes.arguments(**none)).fault is None
    return _off(world)


def small_to_import() -> World:
    """A host that has what an import of the small one needs."""
    return _small_to_import()[0].copy()


def import_asked() -> Operation:
    """Return the import of the small one."""
    _, document = _small_to_import()
    return operation("import_instance", instance_uuid=INSTANCE, document=document)


@cache
def _small_to_import() -> tuple[World, str]:
    return _other_host(small())


def _off(world: World) -> World:
    guest = world.guests[INSTANCE]
    guest.vm_state, guest.live = VmState.STOPPED, {}
    # The folder of another host's worker, and a firmware, for that the fake keeps only paths.
    guest.beside = replace(guest.beside, console=CONSOLE, nvram=NVRAM)
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=VmState.STOPPED)
    world.other_files.add(NVRAM)
    return world


def _other_host(source: World) -> tuple[World, str]:
    document = let_go(source)
    target = build_scenes.empty()
    target.cache = ELSEWHERE
    target.texts = source.texts
    target.volumes, target.attachments = dict(source.volumes), dict(source.attachments)
    target.files, target.bases = dict(source.files), dict(source.bases)
    target.other_files.add(NVRAM)
    target.consoles.add(INSTANCE)
    return target, document


def root_of(document: str) -> str:
    """Return the path of the disk that is made over the image."""
    (row,) = json.loads(document)["bases"]
    return disk_path(INSTANCE, row)


def beside() -> Beside:
    """Return what the machine is to name on the new host."""
    return Beside(
        console=f"/local/{INSTANCE}/console",
        kernel=copy_path(KERNEL, ELSEWHERE),
        ramdisk=copy_path(RAMDISK, ELSEWHERE),
        nvram=NVRAM,
    )


def base() -> str:
    """Return what the root is to be made over on the new host."""
    return copy_path(IMAGE, ELSEWHERE)
