"""Other hands define a domain just where an instance is built: theirs it stays."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy

import pytest

from tests.fakes.database import FakeBlockDevices
from tests.fakes.world import FakeGuest, World
from tests.unit.adopt_scenes import foreign
from tests.unit.build_scenes import arguments, build, empty, from_volume
from tests.unit.scenes import INSTANCE, Crash, Trouble
from worker.errors import HypervisorRefused
from worker.model.block_device import BlockDevice
from worker.model.disk import Disk
from worker.model.ids import InstanceId
from worker.model.instance import VmState
from worker.model.operation import OperationState

OTHER = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e009")


def theirs(disks: Sequence[Disk] = (), **fields: object) -> FakeGuest:
    kept = {disk.alias or f"?{disk.target}": disk for disk in disks}
    found = FakeGuest(name="guest-1", vm_state=VmState.STOPPED, persistent=kept)
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def before_define(
    found: World, instance: InstanceId, guest: FakeGuest
) -> Callable[[str], AbstractContextManager[None]]:
    """Return a watch by which the guest is there when the build's turn comes to define its own."""

    @contextmanager
    def around(name: str) -> Iterator[None]:
        if name == "machines.define":
            found.guests.setdefault(instance, guest)
        yield

    return around


THEIRS = {
    "another machine": theirs([foreign("vda", "/images/theirs", 0)]),
    "one that runs": theirs(vm_state=VmState.ACTIVE),
    "one that is forgotten when it is off": theirs(vm_state=VmState.ACTIVE, transient=True),
}


@pytest.mark.parametrize("which", THEIRS)
def test_a_domain_of_its_uuid_stays(which: str) -> None:
    found, guest = empty(), deepcopy(THEIRS[which])
    ended = build(found, arguments(), before_define(found, INSTANCE, guest))
    assert ended.state is OperationState.FAILED
    assert ended.fault is not None
    assert ended.fault.code == "hypervisor.refused"
    assert found.guests.pop(INSTANCE) == THEIRS[which]
    assert found == empty()


def test_a_domain_of_its_name_stays() -> None:
    found, guest = empty(), theirs()
    ended = build(found, arguments(), before_define(found, OTHER, guest))
    assert ended.fault is not None
    assert ended.fault.code == "domain.taken"
    assert found.guests.pop(OTHER) == theirs()
    assert found == empty()


def test_one_that_was_defined_while_the_worker_was_dead_stays() -> None:
    found, guest = empty(), deepcopy(THEIRS["another machine"])
    with pytest.raises(Crash):
        build(found, arguments(), at_define(Crash))
    found.crash()
    found.guests[INSTANCE] = guest
    ended = build(found, arguments())
    assert ended.state is OperationState.FAILED
    assert found.guests.pop(INSTANCE) == THEIRS["another machine"]
    assert found == empty()


def at_define(error: type[BaseException]) -> Callable[[str], AbstractContextManager[None]]:
    def watch(name: str) -> AbstractContextManager[None]:
        return Trouble(at=0 if name == "machines.define" else None, error=error)(name)

    return watch


def test_one_with_some_of_our_disks_is_for_an_operator_to_look_at() -> None:
    found, other = empty(), empty()
    assert build(other, from_volume()).fault is None
    ours = other.guests[INSTANCE].persistent
    some = theirs(list(ours.values())[:1])
    ended = build(found, from_volume(), before_define(found, INSTANCE, some))
    assert ended.state is OperationState.STUCK
    assert ended.fault is not None
    assert "bears only ua-" in ended.fault.message
    assert found.guests == {INSTANCE: some}


def test_one_stays_where_the_build_has_no_disk_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    found, guest = empty(), deepcopy(THEIRS["another machine"])
    with pytest.raises(Crash):
        build(found, arguments(), at_define(Crash))
    found.crash()
    found.guests[INSTANCE] = guest
    rows = FakeBlockDevices(found).of_instance(INSTANCE)
    answers = iter([rows])

    def lost(_self: FakeBlockDevices, _instance: InstanceId) -> tuple[BlockDevice, ...]:
        return next(answers, ())

    monkeypatch.setattr(FakeBlockDevices, "of_instance", lost)
    build(found, arguments(), at_define(HypervisorRefused))
    assert found.guests == {INSTANCE: THEIRS["another machine"]}
