"""Rescue and its end on a real guest: for how long no guest runs, and how much of it is ours.

The guest has a root of an image, a volume and a config drive. Its power is cut, for how long a
guest takes to end by itself is its own affair.
"""

import math
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import libvirt

from tests import guests, rig
from tests.bench.figures import Figure, milliseconds
from tests.functional.builders import Builder, put_image
from worker.cmd.demo.guest import KERNEL_ARGUMENTS
from worker.cmd.demo.guest_image import GuestImage
from worker.model.downtime import OFF, STARTED
from worker.model.ids import new_uuid
from worker.steps import port_of

MIB = 1 << 20
ASKED = 100
LIBVIRT = frozenset(
    {"guests", "disks", "guest_peripherals", "insides", "machines", "power", "rescues"}
    | {"definitions", "autostart"}
)
SERVICES = frozenset({"images", "volumes", "attachments", "pool", "connector"})
"""What is neither of these is a file of this host: the time it takes is ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Seconds, each cycle's: all, of it without a guest, of that in libvirt, and our part."""

    name: str
    whole: list[float] = field(default_factory=list)
    off: list[float] = field(default_factory=list)
    libvirt: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)

    def add(self, ended: rig.Json) -> None:
        """Add what the journal has of an operation that had the guest off and on once."""
        steps = _while_off(ended["steps"])
        off = ended["seconds_without_guest"]
        libvirt_, services = _spent(steps, LIBVIRT), _spent(steps, SERVICES)
        self.whole.append(_seconds(ended["accepted_at"], ended["ended_at"]))
        self.off.append(off)
        self.libvirt.append(libvirt_)
        self.ours.append(off - libvirt_ - services)

    def figures(self) -> list[Figure]:
        return [
            milliseconds(f"{self.name}, accepted to ended", self.whole),
            milliseconds(f"{self.name}, without a running guest", self.off),
            milliseconds(f"{self.name}, of it in libvirt", self.libvirt),
            milliseconds(f"{self.name}, of it our part", self.ours, most=ASKED),
        ]


def measure(cycles: int) -> list[Figure]:
    """Rescue and unrescue one guest so often."""
    with tempfile.TemporaryDirectory(prefix="bw-bench-") as name, guests.private_libvirtd() as uri:
        folder = Path(name)
        _put_images(folder, guests.cached_guest_image())
        with (
            rig.running(
                folder / "state",
                uri,
                bus="kombu+memory://localhost/",
                host="bench",
                image__folder=str(folder / "images"),
                image__instances_path=str(folder / "instances"),
            ) as found,
            closing(libvirt.open(uri)) as connection,
        ):
            builder = Builder(rig=found, instances=folder / "instances", connection=connection)
            return _cycles(builder, cycles)


def _put_images(folder: Path, image: GuestImage) -> None:
    images, blank = folder / "images", folder / "blank"
    images.mkdir()
    blank.write_bytes(bytes(8 * MIB))
    put_image(images, "root", blank, "raw")
    put_image(images, "kernel", image.kernel, "aki")
    put_image(images, "ramdisk", image.initrd, "ari")
    boots = {"kernel_id": "kernel", "ramdisk_id": "ramdisk", "os_command_line": KERNEL_ARGUMENTS}
    properties = boots | {"hw_rescue_bus": "usb"}
    put_image(images, "rescue", blank, "raw", properties=properties)


def _cycles(builder: Builder, cycles: int) -> list[Figure]:
    instance = _built(builder)
    there, back = Samples(name="rescue"), Samples(name="unrescue")
    asked = {"instance_uuid": instance, "clean_shutdown": False}
    for _ in range(cycles):
        password = new_uuid()
        there.add(
            _done(
                builder.rig.run(
                    "rescue_instance",
                    rescue_image_ref="rescue",
                    rescue_password=password,
                    **asked,
                )
            )
        )
        back.add(_done(builder.rig.run("unrescue_instance", **asked)))
    return [*there.figures(), *back.figures()]


def _built(builder: Builder) -> str:
    instance = new_uuid()
    volume = {"source_type": "volume", "volume_id": builder.rig.volume(4 * MIB)}
    _done(
        builder.build(
            instance, image_ref="root", root_gb=1, config_drive=True, block_devices=[volume]
        )
    )
    builder.seen(instance)
    return instance


def _done(ended: rig.Json) -> rig.Json:
    assert ended["fault"] is None, ended
    return ended


def _while_off(steps: Sequence[rig.Json]) -> Sequence[rig.Json]:
    names = [step["name"] for step in steps]
    first = next(number for number, name in enumerate(names) if name in OFF)
    last = next(number for number, name in enumerate(names) if number > first and name in STARTED)
    return steps[first : last + 1]


def _spent(steps: Sequence[rig.Json], ports: frozenset[str]) -> float:
    return math.fsum(step["seconds"] for step in steps if port_of(step["name"]) in ports)


def _seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
