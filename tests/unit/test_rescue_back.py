"""Ways back of rescue and unrescue that were cut off, and starts that were: nobody is cut off."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import power_scenes, rescue_scenes
from tests.unit.rescue_runs import ALIAS, call, carry_out, instance, steps
from tests.unit.rescue_scenes import asked, back
from tests.unit.runs import fault_of
from tests.unit.scenes import INSTANCE, VOLUME, Crash, Refusing, Trouble, operation, run
from worker.errors import DomainNotFound
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState

RESUME = operation("resume_instance", instance_uuid=INSTANCE)
START = operation("start_instance", instance_uuid=INSTANCE)


class Around:
    """A watch that does something before a call of that name, or after it."""

    def __init__(
        self, name: str, before: Callable[[], None] | None = None, *, killed: bool = False
    ) -> None:
        self.name, self.before, self.killed = name, before, killed

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if name == self.name and self.before is not None:
            self.before()
        yield
        if name == self.name and self.killed:
            raise Crash(name)


def killed_after(world: World, wanted: Operation, step: str, *watches: object) -> World:
    with pytest.raises(Crash):
        run(world, wanted, *watches, Around(step, killed=True))
    world.crash()
    return world


def goes_off(world: World) -> Callable[[], None]:
    """Return what a libvirtd does to the guest in whose start its predecessor died."""

    def end() -> None:
        guest = world.guests[INSTANCE]
        guest.vm_state, guest.live = VmState.STOPPED, {}

    return end


def others_start(world: World) -> Callable[[], None]:
    def start() -> None:
        guest = world.guests[INSTANCE]
        guest.vm_state, guest.live = VmState.ACTIVE, dict(guest.persistent)

    return start


def made_since(world: World, wanted: Operation, before: int) -> list[str]:
    return steps(world, wanted)[before:]


# An earlier run had begun to go back.


def test_a_rescue_that_was_killed_on_its_way_back_does_not_cut_off_the_guest_that_boots() -> None:
    world = rescue_scenes.on()
    killed_after(world, asked(), "power.start", Refusing("rescues.start"))
    before = len(steps(world, asked()))
    message = fault_of(run(world, asked())).message
    assert "an earlier run failed" in message
    assert "rescues.start" in message
    assert world == rescue_scenes.on()
    assert not {"power.cut", "power.wait_off"} & set(made_since(world, asked(), before))


def test_an_unrescue_that_was_killed_on_its_way_back_does_not_cut_off_the_rescue_guest() -> None:
    world = rescue_scenes.rescued()
    killed_after(world, back(), "rescues.start", Refusing("power.start"))
    before = len(steps(world, back()))
    assert "power.start" in fault_of(run(world, back())).message
    assert world == rescue_scenes.rescued()
    assert not {"power.cut", "power.wait_off"} & set(made_since(world, back(), before))


def test_on_a_host_that_was_booted_meanwhile_it_has_its_volumes_there() -> None:
    world = rescue_scenes.rescued_from_volume()
    killed_after(world, back(), "rescues.start", Refusing("power.start"))
    goes_off(world)()
    world.connected.clear()
    assert run(world, back()).state is OperationState.FAILED
    assert world == rescue_scenes.rescued_from_volume()
    assert world.connected == {VOLUME}


def test_one_that_other_hands_have_started_by_then_is_as_it_was() -> None:
    world = rescue_scenes.rescued()
    ended = run(world, back(), Refusing("power.start"), Refusing("rescues.start"))
    assert ended.state is OperationState.STUCK
    others_start(world)()
    fakes.ports(world).stuck.reopen(ended.id)
    carry_out(world, back())
    assert world == rescue_scenes.on()


# What runs is not always what was started.


def test_a_guest_that_other_hands_start_in_between_is_not_cut_off() -> None:
    world = rescue_scenes.on()
    ended = run(world, asked(), Around("rescues.start", others_start(world)))
    assert ended.state is OperationState.FAILED
    assert "power.cut" not in steps(world, ended)
    assert world == rescue_scenes.on()


def test_nor_is_one_that_they_start_before_a_second_run() -> None:
    world = killed_after(rescue_scenes.on(), asked(), "rescues.start")
    others_start(world)()
    ended = run(world, asked(), Once("local_disks.find"))
    assert ended.state is OperationState.FAILED
    assert "power.cut" not in steps(world, ended)
    assert world == rescue_scenes.on()


def test_a_domain_that_vanishes_in_the_start_has_nothing_to_be_cut() -> None:
    world = rescue_scenes.off()
    ended = run(world, asked(), Around("rescues.start", world.guests.clear))
    assert fault_of(ended).code == DomainNotFound.code
    assert instance(world).rescue is None
    assert world.files == rescue_scenes.off().files


def test_a_guest_that_an_unrescue_has_started_is_not_cut_off_by_its_second_run() -> None:
    world = killed_after(rescue_scenes.rescued(), back(), "power.start")
    carry_out(world, back(), Once("guests.describe"))
    assert "power.cut" not in steps(world, back())
    assert world == rescue_scenes.on()


class Once(Refusing):
    """A watch under which the first call of a kind fails."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.left = 1

    def __call__(self, name: str) -> object:  # type: ignore[override]
        mine = name == self.name and self.left > 0
        self.left -= mine
        return super().__call__(name if mine else "")


@pytest.mark.parametrize(
    ("start", "wanted", "step", "after"),
    [
        (rescue_scenes.rescued, back(), "power.start", rescue_scenes.on),
        (power_scenes.off, START, "power.start", power_scenes.on),
        (
            rescue_scenes.rescued_before_the_boot,
            RESUME,
            "rescues.start",
            rescue_scenes.rescued_from_volume,
        ),
    ],
)
def test_a_guest_that_was_half_started_is_started(
    start: Callable[[], World], wanted: Operation, step: str, after: Callable[[], World]
) -> None:
    """It is shown to run until the libvirtd that is back has ended it, which a start waits for."""
    world = killed_after(start(), wanted, step)
    before = len(steps(world, wanted))
    carry_out(world, wanted, Around(step, goes_off(world)))
    assert step in made_since(world, wanted, before)
    assert world.guests == after().guests
    assert instance(world).vm_state is instance(after()).vm_state


def test_so_is_one_on_the_way_back_of_a_rescue() -> None:
    world = rescue_scenes.on()
    killed_after(world, asked(), "power.start", Refusing("rescues.start"))
    before = len(steps(world, asked()))
    assert run(world, asked(), Around("power.start", goes_off(world))).fault is not None
    assert "power.start" in made_since(world, asked(), before)
    assert world == rescue_scenes.on()


# The end of an unrescue.


@pytest.mark.parametrize(
    ("start", "state"),
    [
        (rescue_scenes.rescued, VmState.ACTIVE),
        (rescue_scenes.rescued_while_off, VmState.STOPPED),
    ],
)
def test_a_host_that_boots_at_the_end_leaves_the_guest_to_be_brought_back(
    start: Callable[[], World], state: VmState
) -> None:
    world = killed_after(start(), back(), "local_disks.delete")
    goes_off(world)()
    carry_out(world, back())
    assert instance(world).vm_state is state
    assert instance(world).rescue is None


def test_the_config_drive_is_written_while_there_is_a_guest() -> None:
    world = rescue_scenes.rescued_with_a_password()
    made = steps(world, carry_out(world, back()))
    assert made.index("config_drives.write") < made.index("power.ask_off")
    assert made.count("config_drives.write") == 1
    assert ALIAS not in world.guests[INSTANCE].live


def test_it_is_written_again_if_a_volume_is_left_out() -> None:
    world = rescue_scenes.rescued_with_a_password()
    (row,) = [row for row in world.rows.values() if row.volume is not None]
    world.connected.clear()
    world.unreachable.add(row.its_volume)
    assert steps(world, carry_out(world, back())).count("config_drives.write") == 2


@pytest.mark.parametrize(
    ("start", "wanted", "step"),
    [
        (rescue_scenes.on, asked(), "rescues.start"),
        (rescue_scenes.rescued, back(), "power.start"),
    ],
)
def test_what_the_same_run_has_started_and_could_not_see_is_cut(
    start: Callable[[], World], wanted: Operation, step: str
) -> None:
    world = start()
    trouble = Trouble(at=call(start(), wanted, step), after=True)
    ended = run(world, wanted, trouble)
    assert steps(world, ended).count("power.cut") == 1
    assert world == start()


def test_a_rescue_that_was_killed_once_its_guest_ran_leaves_it_running() -> None:
    world = killed_after(rescue_scenes.on(), asked(), "rescues.start")
    carry_out(world, asked())
    assert "power.cut" not in steps(world, asked())
