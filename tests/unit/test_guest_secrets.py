"""Secrets are at the hypervisor's hand while an operation needs them, and not a moment longer."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import fakes
from tests.fakes.hypervisor import FakeGuestSecrets
from tests.fakes.world import World
from tests.unit import opened_scenes, scenes
from tests.unit.scenes import DEVICE, INSTANCE, VOLUME, Crash, operation, run
from worker.handlers.parts.guest_secrets import take_secrets
from worker.model.guest_secret import SecretUse, row_in, usage_of
from worker.model.ids import InstanceId
from worker.model.operation import OperationState
from worker.steps import Watch

ATTACH = operation("attach_volume", **scenes.attach_arguments())


def steps(world: World) -> list[str]:
    return [step.name for step in world.steps[ATTACH.id]]


def at(call: str, error: type[BaseException]) -> Watch:
    """Have the call end in the error, its effect done."""

    @contextmanager
    def around(name: str) -> Iterator[None]:
        yield
        if name == call:
            raise error

    return around


def test_they_are_given_before_the_attach_and_taken_at_the_end() -> None:
    world = opened_scenes.reserved()
    assert run(world, ATTACH).fault is None
    (disk,) = world.guests[INSTANCE].live.values()
    assert (disk.secret_usage, disk.encrypted) == (usage_of(INSTANCE, DEVICE), True)
    order = [name for name in steps(world) if name.startswith("guest_secrets.")]
    assert order == ["guest_secrets.put", "guest_secrets.put", "guest_secrets.drop"]
    assert steps(world).index("guest_secrets.put") < steps(world).index("disks.attach")
    assert steps(world)[-1] == "guest_secrets.drop"
    assert world.secrets == {}


def test_a_volume_that_asks_for_nothing_costs_no_call() -> None:
    world = scenes.world()
    scenes.reserve(world)
    assert run(world, ATTACH).fault is None
    assert not [name for name in steps(world) if name.startswith(("guest_secrets.", "keys."))]
    (disk,) = world.guests[INSTANCE].live.values()
    assert (disk.secret_usage, disk.encrypted) == (None, False)


def test_without_its_key_the_volume_is_given_back() -> None:
    world = opened_scenes.reserved()
    world.lost_keys.add(VOLUME)
    ended = run(world, ATTACH)
    assert ended.fault is not None
    assert (ended.state, ended.fault.code) == (OperationState.FAILED, "key.not_found")
    expected = opened_scenes.guarded()
    expected.lost_keys.add(VOLUME)
    assert world == expected


def test_what_has_no_header_is_refused_and_given_back() -> None:
    world = opened_scenes.reserved()
    world.plain.add(VOLUME)
    ended = run(world, ATTACH)
    assert ended.fault is not None
    assert (ended.state, ended.fault.code) == (OperationState.FAILED, "volume.not_luks")
    expected = opened_scenes.guarded()
    expected.plain.add(VOLUME)
    assert world == expected


def test_what_a_killed_worker_has_given_is_taken_by_the_next() -> None:
    world = opened_scenes.reserved()
    with pytest.raises(Crash):
        run(world, ATTACH, at("disks.attach", Crash))
    assert world.secrets == {(INSTANCE, DEVICE): {SecretUse.ISCSI, SecretUse.VOLUME}}
    assert run(world, ATTACH).fault is None
    assert world.secrets == {}


def test_a_hypervisor_that_is_away_changes_no_end(caplog: pytest.LogCaptureFixture) -> None:
    world = opened_scenes.reserved()
    with caplog.at_level(logging.WARNING):
        assert run(world, ATTACH, scenes.Refusing("guest_secrets.drop")).fault is None
    assert caplog.text.count(f"secrets not taken: instance={INSTANCE}") == 2
    assert FakeGuestSecrets(world).list() == ((INSTANCE, DEVICE),)


def test_a_call_has_none_to_take() -> None:
    world = scenes.world()
    take_secrets(fakes.ports(world))
    take_secrets(fakes.ports(world, operation("list_volumes")))
    assert world == scenes.world()


def test_a_usage_names_its_row_and_another_text_none() -> None:
    assert row_in(usage_of(INSTANCE, DEVICE)) == (INSTANCE, DEVICE)
    for other in ("", "theirs", f"theirs/{INSTANCE}/{DEVICE}", f"blockworker/{INSTANCE}"):
        assert row_in(other) is None
    assert InstanceId(usage_of(INSTANCE, DEVICE).split("/")[1]) == INSTANCE
