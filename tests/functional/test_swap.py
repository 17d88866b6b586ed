"""A volume that gives its place to another one under a guest that writes to it all the while."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
import pytest
from sqlalchemy import select

from tests.guests import Guest, GuestMaker
from tests.processes import SOON, Served, configure
from worker import conf as options
from worker import wiring
from worker.errors import OperationCancelled
from worker.model.ids import new_uuid
from worker.persistence.schema import POOL_VOLUMES

MIB = 1 << 20
SIZE = 32 * MIB
"""Half of it is on its way before QEMU thinks of the speed."""

BLOCK = 64 * 1024
DEVICE = "vda"
CRAWL = 1024
"""Bytes a second: such a copy does not end while a test looks at it."""

_BYTES = libvirt.VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES


@pytest.fixture
def served(libvirtd: str, tmp_path: Path) -> Iterator[Served]:
    """A worker's process, killed at the end if it still runs."""
    found = configure(tmp_path / "state", libvirtd)
    with found.config.open("a") as config:
        config.write("\nswap_bandwidth = 4\n")
    found.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


@dataclass
class Writer:
    """Writes to a disk of a guest, through the device that the guest has, until told to stop."""

    uri: str
    instance: str
    alias: str
    written: dict[int, int] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        connection = libvirt.open(self.uri)
        domain = connection.lookupByUUIDString(self.instance)
        turn = 0
        while not self.stopping.wait(0.02):
            turn += 1
            self._write(domain, turn * 7 % (SIZE // BLOCK), turn % 255 + 1)
        connection.close()

    def _write(self, domain: libvirt.virDomain, block: int, letter: int) -> None:
        device = f"/machine/peripheral/{self.alias}/virtio-backend"
        command = f'qemu-io -d {device} "write -P {letter} {block * BLOCK} {BLOCK}"'
        said = libvirt_qemu.qemuMonitorCommand(
            domain, command, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
        )
        assert said == "", said
        self.written[block] = letter

    def lost(self, content: bytes) -> list[int]:
        """Return the blocks that are not as they were written last."""
        return [
            block
            for block, letter in self.written.items()
            if content[block * BLOCK : (block + 1) * BLOCK] != bytes([letter]) * BLOCK
        ]


@contextmanager
def writing(guest: Guest, alias: str) -> Iterator[Writer]:
    writer = Writer(uri=guest.uri, instance=guest.uuid, alias=alias)
    thread = threading.Thread(target=writer)
    thread.start()
    try:
        yield writer
    finally:
        writer.stopping.set()
        thread.join()


def made(served: Served, size: int = SIZE) -> str:
    volume = new_uuid()
    assert served.run("create_volume", volume_id=volume, size=size)["fault"] is None
    return volume


def path_of(served: Served, volume: str) -> Path:
    engine = wiring.make_database(options.load(state_path=str(served.state))).engine
    wanted = select(POOL_VOLUMES.c.path).where(POOL_VOLUMES.c.id == volume)
    with engine.connect() as connection:
        found = Path(connection.execute(wanted).scalar_one())
    engine.dispose()
    return found


def fill(path: Path) -> None:
    """A hole in a file is copied at once, whatever the speed."""
    path.write_bytes(b"content " * (SIZE // len(b"content ")))


def attached(served: Served, guest: Guest, volume: str) -> dict[str, Any]:
    served.client.call("adopt_instance", domain=guest.uuid)
    row: dict[str, Any] = served.client.call(
        "reserve_block_device_name", instance_uuid=guest.uuid, volume_id=volume
    )
    ended = served.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])
    assert ended["fault"] is None
    guest.wait_for_disk(DEVICE)
    return row


def begun(served: Served, guest: Guest, row: dict[str, Any], volume: str) -> str:
    """Begin a swap; return it once its copy crawls along."""
    operation = served.begin(
        "swap_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"], new_volume_id=volume
    )
    end = time.monotonic() + SOON
    while not guest.domain.blockJobInfo(DEVICE) or shown(served, operation)["progress"] is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    guest.domain.blockJobSetSpeed(DEVICE, CRAWL, _BYTES)
    return operation


def shown(served: Served, operation: str) -> dict[str, Any]:
    found: dict[str, Any] = served.client.call("get_operation", operation_id=operation)
    return found


def statuses(served: Served, *volumes: str) -> list[str]:
    return [served.client.call("get_volume", volume_id=each)["status"] for each in volumes]


def live_row(served: Served, guest: Guest) -> dict[str, Any]:
    (row,) = served.client.call("list_block_devices", instance_uuid=guest.uuid)
    found: dict[str, Any] = row
    return found


def drift(served: Served, guest: Guest) -> list[Any]:
    found = served.client.call("find_drift", instance_uuid=guest.uuid, qemu=True)
    return [*found["differences"], *found["in_flux"]]


def kept(row: dict[str, Any]) -> dict[str, Any]:
    names = ("uuid", "alias", "serial", "device_name", "address", "disk_bus", "status")
    return {name: row[name] for name in names}


def test_a_guest_that_writes_goes_on_with_another_volume_whatever_becomes_of_the_worker(
    served: Served, make_guest: GuestMaker
) -> None:
    guest = make_guest()
    old, new = made(served), made(served)
    fill(path_of(served, old))
    row = attached(served, guest, old)
    before = live_row(served, guest)
    with writing(guest, row["alias"]) as writer:
        operation = begun(served, guest, row, new)
        assert drift(served, guest) == [
            {"instance_uuid": guest.uuid, "bdm_uuid": row["uuid"], "operation_id": operation}
        ]
        served.kill()
        assert guest.domain.blockJobInfo(DEVICE)
        served.start()
        guest.domain.blockJobSetSpeed(DEVICE, 0)
        ended = served.end_of(operation)
        time.sleep(0.2)
    assert ended["state"] == "succeeded", ended
    assert ended["progress"] == 100
    after = live_row(served, guest)
    assert kept(after) == kept(before)
    assert after["volume_id"] == new
    assert statuses(served, old, new) == ["available", "in-use"]
    assert drift(served, guest) == []
    assert writer.written
    content = path_of(served, new).read_bytes()
    assert writer.lost(content) == []
    untouched = set(range(SIZE // BLOCK)) - writer.written.keys()
    was = path_of(served, old).read_bytes()
    assert all(
        content[each * BLOCK : (each + 1) * BLOCK] == was[each * BLOCK : (each + 1) * BLOCK]
        for each in untouched
    )
    (seen,) = guest.console.fresh(SOON).values()
    assert old.startswith(seen.serial)
    assert path_of(served, new).name in guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    taken = served.command("device", "swap", guest.uuid, new, new)
    assert (taken.returncode, "volume.already_attached" in taken.stderr) == (1, True)


def test_a_swap_is_left_to_the_next_worker_and_can_be_cancelled_there(
    served: Served, make_guest: GuestMaker
) -> None:
    guest = make_guest()
    old, new = made(served), made(served, 2 * SIZE)
    fill(path_of(served, old))
    row = attached(served, guest, old)
    before = live_row(served, guest)
    operation = begun(served, guest, row, new)
    assert served.stop() == 0
    assert guest.domain.blockJobInfo(DEVICE)
    served.start()
    assert shown(served, operation)["state"] == "running"
    done = served.command("operation", "cancel", operation)
    assert (done.returncode, "cancelled" in done.stdout) == (0, True), done
    ended = shown(served, operation)
    assert (ended["state"], ended["fault"]["code"]) == ("failed", OperationCancelled.code)
    assert ended["attempts"] == 0
    assert live_row(served, guest) == before
    assert statuses(served, old, new) == ["in-use", "available"]
    assert not guest.domain.blockJobInfo(DEVICE)
    assert drift(served, guest) == []
    late = served.command("operation", "cancel", operation)
    assert (late.returncode, "operation.wrong_state" in late.stderr) == (1, True)

    again = served.command("device", "swap", guest.uuid, DEVICE, new)
    assert (again.returncode, new in again.stdout) == (0, True), again
    guest.console.wait_for(lambda disks: disks[DEVICE].size == 2 * SIZE, SOON)
    assert drift(served, guest) == []
    ended = served.run(
        "detach_volume", instance_uuid=guest.uuid, volume_id=new, bdm_uuid=row["uuid"]
    )
    assert ended["fault"] is None
    assert statuses(served, old, new) == ["available", "available"]
