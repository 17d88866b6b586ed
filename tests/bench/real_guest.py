"""Attach and detach on a real guest, beside the bare libvirt calls in the same run."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt

from tests import guests, rig
from tests.bench.figures import Figure, milliseconds
from worker.model.ids import InstanceId
from worker.virt.libvirtd.connection import LibvirtConnection

DISK = """
<disk type='file' device='disk'>
  <driver name='qemu' type='raw' cache='none' io='native'/>
  <alias name='ua-bare'/><source file='{path}'/><target dev='vdz' bus='virtio'/>
  <serial>bare</serial>
  <address type='pci' domain='0x0000' bus='0x09' slot='0x00' function='0x0'/>
</disk>"""

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG


@dataclass(kw_only=True)
class Samples:
    """Seconds, by what took them."""

    attach: list[float] = field(default_factory=list)
    attach_ours: list[float] = field(default_factory=list)
    detach: list[float] = field(default_factory=list)
    detach_ours: list[float] = field(default_factory=list)
    bare_attach: list[float] = field(default_factory=list)
    bare_detach: list[float] = field(default_factory=list)

    def figures(self) -> list[Figure]:
        return [
            milliseconds("attach, cast to end heard", self.attach),
            milliseconds("attach, our part", self.attach_ours, most=15),
            milliseconds("attach, bare libvirt", self.bare_attach),
            milliseconds("detach, cast to end heard", self.detach),
            milliseconds("detach, our part", self.detach_ours, most=15),
            milliseconds("detach, bare libvirt", self.bare_detach),
        ]


def measure(cycles: int) -> list[Figure]:
    """Attach and detach one volume so often, a bare disk in between."""
    with tempfile.TemporaryDirectory(prefix="bw-bench-") as name, guests.private_libvirtd() as uri:
        folder = Path(name)
        image = guests.cached_guest_image()
        with guests.guest_maker(uri, image, folder) as make_guest:
            guest = make_guest()
            bus = "kombu+memory://localhost/"
            with rig.running(folder / "state", uri, bus=bus, host="bench") as found:
                found.call("adopt_instance", domain=guest.uuid)
                connection = LibvirtConnection(uri)
                connection.reopen(within=5.0)
                try:
                    return _cycles(found, guest, folder, connection, cycles).figures()
                finally:
                    connection.close()


def _cycles(
    found: rig.Rig,
    guest: guests.Guest,
    folder: Path,
    connection: LibvirtConnection,
    cycles: int,
) -> Samples:
    samples = Samples()
    volume = found.volume()
    (folder / "bare").write_bytes(bytes(1 << 20))
    for _ in range(cycles):
        row = found.reserve(guest.uuid, volume)
        total, ours = _timed(found, "attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])
        samples.attach.append(total)
        samples.attach_ours.append(ours)
        guest.wait_for_disk("vda")
        total, ours = _timed(
            found,
            "detach_volume",
            instance_uuid=guest.uuid,
            volume_id=volume,
            bdm_uuid=row["uuid"],
        )
        samples.detach.append(total)
        samples.detach_ours.append(ours)
        _bare(guest, folder / "bare", connection, samples)
    return samples


def _timed(found: rig.Rig, method: str, **arguments: Any) -> tuple[float, float]:  # noqa: ANN401
    """Return how long an operation took to its end heard, and how much of that was ours."""
    begun = time.perf_counter()
    operation = found.cast(method, **arguments)
    update = found.wait_for(
        lambda heard: (
            heard["payload"]["operation_id"] == operation
            and not heard["event_type"].endswith(".start")
        )
    )
    total = time.perf_counter() - begun
    assert update["payload"]["fault"] is None, update
    steps = found.call("get_operation", operation_id=operation)["steps"]
    return total, total - sum(step["seconds"] for step in steps)


def _bare(guest: guests.Guest, path: Path, connection: LibvirtConnection, samples: Samples) -> None:
    xml = DISK.format(path=path)
    samples.bare_attach.append(_spent(lambda: guest.domain.attachDeviceFlags(xml, LIVE | CONFIG)))
    guest.wait_for_disk("vda")
    samples.bare_detach.append(_spent(lambda: _detach(guest, connection)))


def _detach(guest: guests.Guest, connection: LibvirtConnection) -> None:
    """Detach as one would by hand, and wait for the event as the worker does."""
    with connection.watch(InstanceId(guest.uuid), "ua-bare") as watch:
        guest.domain.detachDeviceAlias("ua-bare", LIVE)
        assert watch.wait(20.0) is not None
    guest.domain.detachDeviceAlias("ua-bare", CONFIG)


def _spent(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
