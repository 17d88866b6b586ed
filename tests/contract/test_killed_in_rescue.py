"""A libvirtd that dies while a guest is in rescue, or on its way there: nothing of it is lost."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import pytest

from tests.contract.daemons import SOON, Victim, victim
from tests.contract.rescue_labs import LibvirtLab
from tests.contract.test_killed_libvirtd import held_open, until_it_ends
from tests.contract.yards import DISK, LibvirtYard
from tests.fakes.hypervisor import shown
from tests.guests import processes_of
from worker.cmd.demo.guest_image import GuestImage
from worker.errors import HypervisorUnavailable
from worker.model.block_device import Bus
from worker.model.machine import Machine
from worker.model.rescue.words import RescueLayout
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.qemu.insides import LibvirtGuestInsides

ROUNDS = 3
LOOK = 0.5
LONGEST = 0.4
"""Seconds in which libvirt has a guest run on a machine that does little else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A machine that is off, and a rescue of it; a worker's adapters and what they heard."""

    daemon: Victim
    lab: LibvirtLab
    machine: Machine
    wanted: RescueLayout
    kept: object

    def kill(self) -> None:
        self.daemon.kill()
        self.daemon.start()

    def start(self) -> None:
        self.lab.rescues.start(self.machine.instance, self.wanted)

    def start_as_always(self) -> None:
        self.lab.yard.power.start(self.machine.instance)

    def cut(self) -> None:
        self.lab.yard.power.cut(self.machine.instance)

    def check_in_rescue(self) -> None:
        assert self.lab.rescued(self.machine, self.wanted) == shown(self.wanted.disk)
        assert len(processes_of(self.machine.instance)) == 1
        assert self.lab.kept(self.machine.instance) == self.kept

    def check_off(self) -> None:
        assert self.lab.is_off(self.machine)
        assert processes_of(self.machine.instance) == []
        assert self.lab.kept(self.machine.instance) == self.kept


@pytest.fixture(scope="module")
def found(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with victim() as daemon:
        connection = LibvirtConnection(daemon.start(), patience=10.0, reopen_interval=0.2)
        lab = LibvirtLab(LibvirtYard(tmp_path_factory.mktemp("yard"), connection, guest_image))
        machine = lab.defined(((Bus.VIRTIO, DISK), (Bus.SCSI, DISK)))
        kept, wanted = lab.kept(machine.instance), lab.stable(machine)
        yield Scene(daemon=daemon, lab=lab, machine=machine, wanted=wanted, kept=kept)
        connection.close()
        daemon.start()


@pytest.fixture
def scene(found: Scene) -> Iterator[Scene]:
    yield found
    found.daemon.start()
    found.cut()


def test_a_guest_in_rescue_outlives_its_libvirtd_and_is_off_after_it(scene: Scene) -> None:
    scene.start()
    (process,) = processes_of(scene.machine.instance)
    live = scene.lab.live(scene.machine)
    scene.kill()
    assert processes_of(scene.machine.instance) == [process]
    guest = scene.lab.guest(scene.machine)
    assert (guest.live, guest.persistent) == (live, scene.lab.persistent(scene.machine))
    inside = LibvirtGuestInsides(scene.lab.connection).disks(scene.machine.instance)
    assert {disk.alias for disk in inside} == {disk.alias for disk in live.disks}
    scene.check_in_rescue()
    assert processes_of(scene.machine.instance) == [process]
    scene.cut()
    scene.check_off()
    scene.kill()
    scene.check_off()


@pytest.mark.parametrize("switch", ["rescue", "power"])
def test_a_start_in_which_libvirtd_died_is_made_again(scene: Scene, switch: str) -> None:
    """The next libvirtd ends the guest, and until then shows it as one that runs."""
    again = {"rescue": scene.start, "power": scene.start_as_always}[switch]
    disk = {"rescue": scene.wanted.disk, "power": scene.machine.disks[0]}[switch]
    with ThreadPoolExecutor(2) as threads:
        with held_open(disk.source.name) as opens:
            first = threads.submit(again)
            assert opens.wait(SOON)
            scene.daemon.kill()
            with pytest.raises(HypervisorUnavailable):
                first.result(SOON)
            scene.daemon.private.start()
            assert not scene.lab.is_off(scene.machine)
            second = threads.submit(again)
            # Long enough that it has looked.
            assert not wait([second], LOOK).done
        second.result(3 * SOON)
    assert len(processes_of(scene.machine.instance)) == 1
    assert scene.lab.kept(scene.machine.instance) == scene.kept
    scene.cut()
    scene.check_off()


@pytest.mark.parametrize("forward", [True, False], ids=["forward", "back"])
def test_kills_at_random_leave_the_guest_in_rescue_or_off(scene: Scene, *, forward: bool) -> None:
    for _round in range(ROUNDS):
        with ThreadPoolExecutor(1) as threads:
            under_way = threads.submit(scene.start)
            time.sleep(random.uniform(0.0, LONGEST))  # noqa: S311 - no secret; it can be repeated
            scene.kill()
            failure = under_way.exception(SOON)
        assert failure is None or isinstance(failure, HypervisorUnavailable), failure
        if forward:
            until_it_ends(scene.start)
            scene.check_in_rescue()
        until_it_ends(scene.cut)
        scene.check_off()
