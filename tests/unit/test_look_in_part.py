"""A look of which a part fails: the guest is brought back, or followed, all the same."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.database import FakePeripherals
from tests.fakes.world import World
from tests.unit import power_scenes, scenes
from tests.unit.scenes import INSTANCE, operation
from tests.unit.test_boots import RESUME, SYNC, Looking
from worker.errors import (
    DatabaseUnavailable,
    HypervisorUnavailable,
    RequestMalformed,
    VolumeServiceUnavailable,
)
from worker.handlers.look_at_guest import look_at_guest
from worker.handlers.migrate_aliases import MigrateAliases
from worker.model.instance import VmState
from worker.model.operation import OperationState

MIGRATE = MigrateAliases(instance_uuid=INSTANCE)
Break = Callable[[Exception], None]


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Make the rows of interfaces and host devices raise this."""

    def make(error: Exception) -> None:
        def of_instance(*_asked: object) -> None:
            raise error

        monkeypatch.setattr(FakePeripherals, "of_instance", of_instance)

    return make


@pytest.mark.parametrize(
    "error", [RequestMalformed("row"), ValueError("row"), VolumeServiceUnavailable("away")]
)
def test_what_ran_is_brought_back_and_the_operation_tells_the_rest(
    unreadable: Break, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    ports = fakes.ports(power_scenes.host_booted())
    unreadable(error)
    assert look_at_guest(INSTANCE, ports, resume=True, first=True) == (MIGRATE, RESUME)
    assert "in part only" in caplog.text


def test_one_that_stopped_is_followed(unreadable: Break) -> None:
    ports = fakes.ports(power_scenes.host_booted())
    unreadable(RequestMalformed("row"))
    assert look_at_guest(INSTANCE, ports) == (SYNC,)


def test_a_migration_that_waits_already_is_not_asked_again(unreadable: Break) -> None:
    world = scenes.world()
    stuck = operation("migrate_aliases", instance_uuid=INSTANCE)
    world.operations[stuck.id] = replace(stuck, state=OperationState.STUCK)
    unreadable(RequestMalformed("row"))
    assert look_at_guest(INSTANCE, fakes.ports(world), first=True) == ()


def test_without_the_database_nothing_is_decided(unreadable: Break) -> None:
    ports = fakes.ports(power_scenes.host_booted())
    unreadable(DatabaseUnavailable("away"))
    with pytest.raises(DatabaseUnavailable):
        look_at_guest(INSTANCE, ports, resume=True, first=True)


def test_where_nothing_else_would_have_it_looked_at_again_the_look_fails(
    unreadable: Break,
) -> None:
    ports = fakes.ports(scenes.world())
    unreadable(HypervisorUnavailable("away"))
    with pytest.raises(HypervisorUnavailable):
        look_at_guest(INSTANCE, ports)


def test_the_boot_is_kept(unreadable: Break) -> None:
    looking = Looking()
    unreadable(RequestMalformed("row"))
    looking.looks.resume([INSTANCE], looking.keep)
    looking.looks.enter_first([INSTANCE])
    looking.work()
    assert looking.kept == 1
    assert methods(looking.world)[-2:] == ["migrate_aliases", "resume_instance"]
    assert looking.world.instances[INSTANCE].vm_state is VmState.ACTIVE


def methods(world: World) -> list[str]:
    return [one.method for one in world.operations.values()]
