"""After a boot of the host, what ran is brought back, and only then is the boot remembered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import power_scenes, rescue_scenes
from tests.unit.fake_worker import SteppedRunner
from tests.unit.scenes import INSTANCE
from worker.errors import HypervisorUnavailable
from worker.handlers.look_at_guest import look_at_guest
from worker.handlers.resume_instance import ResumeInstance
from worker.handlers.sync_power_state import SyncPowerState
from worker.model.instance import VmState
from worker.model.operation import Operation
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.wiring.boots import Boots
from worker.wiring.looks import Looks

RESUME = ResumeInstance(instance_uuid=INSTANCE)
SYNC = SyncPowerState(instance_uuid=INSTANCE)


class Host:
    """A state folder, and the kernel's word for which boot it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kernel = folder / "kernel"
        self.boot("first")

    def boot(self, name: str) -> None:
        self.kernel.write_text(f"{name}\n")

    def boots(self) -> Boots:
        return Boots(self.folder, self.kernel)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_first_worker_of_a_folder_knows_of_no_other_boot(host: Host) -> None:
    assert not host.boots().another()


def test_another_boot_is_one_until_it_is_kept(host: Host) -> None:
    host.boots().keep()
    assert not host.boots().another()
    host.boot("second")
    assert host.boots().another()
    assert host.boots().another()
    host.boots().keep()
    assert not host.boots().another()


def test_a_kernel_that_says_nothing_is_never_taken_for_booted(host: Host) -> None:
    host.boots().keep()
    host.kernel.unlink()
    assert not host.boots().another()
    host.boots().keep()
    host.boot("second")
    assert host.boots().another()


def test_a_file_that_cannot_be_written_is_said(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    (host.folder / "boot-id.new").mkdir()
    host.boots().keep()
    assert "boot not remembered" in caplog.text


def stopped(world: World) -> None:
    kept = world.instances[INSTANCE]
    world.instances[INSTANCE] = replace(kept, vm_state=VmState.STOPPED)


def running(world: World) -> None:
    world.guests[INSTANCE].vm_state = VmState.ACTIVE


def gone(world: World) -> None:
    world.guests.clear()


def paused_before(world: World) -> None:
    kept = world.instances[INSTANCE]
    world.instances[INSTANCE] = replace(kept, vm_state=VmState.PAUSED)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [(None, (RESUME,)), (stopped, ()), (running, ()), (gone, (SYNC,)), (paused_before, (SYNC,))],
)
def test_a_look_brings_back_what_ran_and_is_off(
    change: Callable[[World], None] | None, wanted: tuple[object, ...]
) -> None:
    world = power_scenes.host_booted()
    if change is not None:
        change(world)
    assert look_at_guest(INSTANCE, fakes.ports(world), resume=True) == wanted


def test_without_a_boot_of_the_host_it_was_stopped_by_other_hands() -> None:
    assert look_at_guest(INSTANCE, fakes.ports(power_scenes.host_booted())) == (SYNC,)


class Looking:
    """Looks at a world; libvirt is away while ``away``."""

    def __init__(self) -> None:
        self.world = power_scenes.host_booted()
        self.away = False
        self.kept = 0
        self.runner = SteppedRunner(lambda one: fakes.page(self.world, one))
        self.looks = Looks(
            self.open_call, self.runner, Dispatcher(self.open_call, self.runner.submit)
        )

    @contextmanager
    def open_call(self) -> Iterator[Ports]:
        if self.away:
            message = "libvirt is away"
            raise HypervisorUnavailable(message)
        yield fakes.ports(self.world)
        self.world.commit()

    def keep(self) -> None:
        self.kept += 1

    def work(self) -> None:
        while self.runner.held.work:
            _lane, piece = self.runner.held.work.popitem()
            piece()


def test_the_boot_is_kept_when_what_it_takes_is_in_the_journal() -> None:
    looking = Looking()
    looking.looks.resume([INSTANCE], looking.keep)
    looking.looks.enter(INSTANCE)
    assert looking.kept == 0
    looking.work()
    assert looking.kept == 1
    assert [one.method for one in looking.world.operations.values()][-1] == "resume_instance"
    assert looking.world.guests[INSTANCE].running
    assert looking.world.instances[INSTANCE].vm_state is VmState.ACTIVE


def test_a_look_at_the_end_of_what_was_recovered_brings_it_back_too() -> None:
    looking, told = Looking(), list[Operation]()
    looking.looks.resume([INSTANCE], looking.keep)
    looking.looks.on_end(told.append, rescue_scenes.back())
    looking.work()
    assert told == [rescue_scenes.back()]
    assert looking.kept == 1
    assert looking.world.guests[INSTANCE].running


def test_while_libvirt_is_away_nothing_is_decided() -> None:
    looking = Looking()
    looking.looks.resume([INSTANCE], looking.keep)
    looking.looks.enter(INSTANCE)
    looking.away = True
    looking.work()
    assert looking.kept == 0
    looking.away = False
    looking.looks.enter(INSTANCE)
    looking.work()
    assert looking.kept == 1
    assert looking.world.guests[INSTANCE].running


def test_a_guest_is_brought_back_once_and_then_followed() -> None:
    looking = Looking()
    looking.looks.resume([INSTANCE], looking.keep)
    looking.looks.enter(INSTANCE)
    looking.work()
    looking.world.guests[INSTANCE].vm_state = VmState.STOPPED
    looking.looks.enter(INSTANCE)
    looking.work()
    assert looking.world.instances[INSTANCE].vm_state is VmState.STOPPED
    assert looking.kept == 1


def test_with_nothing_to_bring_back_the_boot_is_kept_at_once() -> None:
    looking = Looking()
    looking.looks.resume([], looking.keep)
    assert looking.kept == 1
