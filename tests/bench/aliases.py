"""How long a host with many guests of an older release takes to give their devices aliases.

libvirtd is a real one, and keeps a domain for each instance; none of them runs.
"""

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import libvirt

from tests.bench import crowd
from tests.bench.figures import Figure, single
from tests.bench.worker import TICKS
from tests.guests import private_libvirtd
from tests.processes import Served, configure
from worker import conf as options
from worker import wiring
from worker.model.block_device import BlockDevice
from worker.model.connection import Connection
from worker.model.guest import GuestDisk
from worker.model.ids import BlockDeviceId, InstanceId, VolumeId
from worker.model.instance import Instance, VmState
from worker.model.source import DiskFormat
from worker.model.specification import LocalDisk, Specification
from worker.persistence import migrate
from worker.persistence.repositories import Repositories
from worker.virt.accel import domain_type
from worker.virt.xml.layout import read_layout
from worker.wiring.core import SystemClock

ASKED = 1000
DISKS = 6
PATIENCE = 600.0
REST = 1.0
"""Seconds without work after which a worker is said to rest."""

WITHOUT = ("tests.bench.without_aliases", "serve")
INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
TOLD = "SELECT count(*) FROM updates WHERE event = 'instance.aliases_migrated'"
MIB = 1 << 20


def measure(count: int) -> list[Figure]:
    """Start a worker on so many domains without aliases, and again on the same ones with them."""
    many = f"{count} domains of {DISKS} disks"
    whole = count >= ASKED
    with tempfile.TemporaryDirectory(prefix="bw-bench-") as name, private_libvirtd() as uri:
        state = Path(name) / "state"
        served = configure(state, uri, host="bench", transport_url="kombu+memory://localhost/")
        with closing(libvirt.open(uri)) as connection:
            spent = _define(connection, served, count)
            first = _started(served, lambda: _count(state) >= count)
            assert _lacking(connection) == 0, f"{_lacking(connection)} devices have no alias"
            second = _started(served, lambda: False)
            without = _started(replace(served, program=WITHOUT), lambda: False)
        assert _count(state) == count, "a second start migrated again"
        return [
            single(f"define {many}, bare libvirt", spent, "s"),
            single(f"from start to all migrated, {many}", first.busy, "s", most=_if(whole, 60.0)),
            single("worker's CPU until then", first.cpu, "s"),
            single("from a second start to rest", second.busy, "s"),
            single("the same without a look for aliases", without.busy, "s"),
            single("a look adds", second.busy - without.busy, "s", most=_if(whole, 10.0)),
            single("a look adds, of the worker's CPU", second.cpu - without.cpu, "s"),
        ]


def _if(whole: bool, most: float) -> float | None:  # noqa: FBT001 - said by its name
    return most if whole else None


class Spent:
    """Seconds from the start of a worker until it was through, or rested, and of its CPU."""

    def __init__(self, busy: float, cpu: float) -> None:
        self.busy = busy
        self.cpu = cpu


@contextmanager
def _serving(served: Served) -> Iterator[float]:
    begun = time.perf_counter()
    served.start()
    try:
        yield begun
    finally:
        served.stop()


def _started(served: Served, through: Callable[[], bool]) -> Spent:
    """Return when it was through with its work, or had none any more for a while."""
    with _serving(served) as begun:
        last, cpu = time.perf_counter(), _cpu(served)
        deadline = begun + PATIENCE
        while not through() and time.perf_counter() < min(deadline, last + REST):
            time.sleep(0.05)
            now = _cpu(served)
            if now - cpu > REST * 0.1:
                last, cpu = time.perf_counter(), now
        assert time.perf_counter() < deadline, served.log()
        return Spent(busy=(time.perf_counter() if through() else last) - begun, cpu=_cpu(served))


def _cpu(served: Served) -> float:
    assert served.process is not None
    line = Path(f"/proc/{served.process.pid}/stat").read_text()
    user, system = line.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


def _define(connection: libvirt.virConnect, served: Served, count: int) -> float:
    """Make domains, files and rows as an older release has left them; return libvirt's part."""
    conf = options.load([served.config])
    database = wiring.make_database(conf)
    migrate.upgrade(database.engine)
    written = Repositories(database, conf.host, SystemClock()).for_call()
    spent = 0.0
    for number in range(count):
        uuid, paths = crowd.instance(number), _files(served.state, number)
        begun = time.perf_counter()
        domain = connection.defineXML(_text(uuid, f"guest-{number}", paths))
        spent += time.perf_counter() - begun
        disks = read_layout(domain.XMLDesc(INACTIVE)).disks
        written.instances.insert(_record(number), _rows(number, disks))
    database.engine.dispose()
    return spent


def _volume(number: int, disk: int) -> VolumeId:
    return VolumeId(f"{number:08d}-{disk:04d}-4000-9000-000000000000")


def _root(number: int) -> BlockDeviceId:
    return BlockDeviceId(f"{number:08d}-0000-4000-a000-000000000000")


def _files(state: Path, number: int) -> list[Path]:
    """A root in the instance's folder, and volumes in the pool's."""
    own, pool = state / "instances" / crowd.instance(number), state / "volumes"
    paths = [own / _root(number), *(pool / _volume(number, disk) for disk in range(1, DISKS))]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def _text(uuid: InstanceId, name: str, paths: Sequence[Path]) -> str:
    disks = "".join(
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>"
        f"<target dev='vd{'abcdef'[at]}' bus='virtio'/></disk>"
        for at, path in enumerate(paths)
    )
    return f"""<domain type='{domain_type()}'><name>{name}</name><uuid>{uuid}</uuid>
      <memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>
      <devices>{disks}<memballoon model='none'/></devices></domain>"""


def _record(number: int) -> Instance:
    root = LocalDisk(uuid=_root(number), size=MIB, format=DiskFormat.RAW)
    return replace(
        crowd.record(number, "bench"),
        vm_state=VmState.STOPPED,
        specification=Specification(vcpus=1, memory=64, disks=(root,)),
    )


def _rows(number: int, disks: Sequence[GuestDisk]) -> list[BlockDevice]:
    root, *others = crowd.rows(number)[:1] + crowd.rows(number)[-1:] * (DISKS - 1)
    rows = [replace(root, uuid=_root(number), alias=f"ua-{_root(number)}", serial=_root(number))]
    for at, disk in enumerate(disks[1:], 1):
        volume, uuid = _volume(number, at), f"{number:08d}-{at:04d}-4000-a000-000000000000"
        rows.append(
            replace(
                others[at - 1],
                uuid=BlockDeviceId(uuid),
                volume=volume,
                device_name=f"/dev/{disk.target}",
                alias=f"ua-{volume}",
                serial=volume,
                tag=None,
                connection=Connection(
                    protocol="local", properties={"device_path": str(disk.source)}
                ),
            )
        )
    return [replace(row, address=disk.address) for row, disk in zip(rows, disks, strict=True)]


def _count(state: Path) -> int:
    with closing(
        sqlite3.connect(f"file:{state / 'blockworker.sqlite'}?mode=ro", uri=True)
    ) as found:
        return int(found.execute(TOLD).fetchone()[0])


def _lacking(connection: libvirt.virConnect) -> int:
    """Return how many devices of all domains have no alias of ours."""
    layouts = (read_layout(one.XMLDesc(INACTIVE)) for one in connection.listAllDomains())
    return sum(device.alias is None for layout in layouts for device in layout.devices)
