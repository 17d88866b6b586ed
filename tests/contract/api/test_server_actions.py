"""Actions on servers, as Nova's clients ask for them."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.api_rig import ApiRig, Json
from tests.contract.api.callers import READER, asking_as
from tests.contract.api.server_scenes import SERVERS, a_server, act, image, not_answered, shown
from worker.model.ids import InstanceId, new_uuid
from worker.model.instance import TaskState, VmState
from worker.persistence.schema import INSTANCES, OPERATIONS

RESCUABLE: Mapping[str, str] = {"hw_rescue_bus": "virtio", "hw_rescue_device": "disk"}


def change(api: ApiRig, server: str, **values: object) -> None:
    changed = update(INSTANCES).where(INSTANCES.c.uuid == server).values(**values)
    api.database.write(lambda each: each.execute(changed))


def from_volume(api: ApiRig) -> str:
    root = {"source_type": "volume", "uuid": api.volume(), "boot_index": 0}
    return a_server(api, imageRef="", block_device_mapping_v2=[root])


def journal_of(api: ApiRig, server: str) -> list[Any]:
    found = select(OPERATIONS).where(OPERATIONS.c.instance_uuid == server)
    return list(api.database.read(lambda each: each.execute(found).all()))


def test_a_server_is_stopped_and_started(api: ApiRig) -> None:
    server = a_server(api)
    assert act(api, server, "os-stop").status == 202
    assert shown(api, server)["status"] == "SHUTOFF"
    assert shown(api, server)["OS-EXT-STS:power_state"] == 4
    assert act(api, server, "os-start").status == 202
    assert shown(api, server)["status"] == "ACTIVE"


def test_the_guest_is_asked_before_its_power_is_cut(api: ApiRig) -> None:
    server = a_server(api)
    act(api, server, "os-stop")
    assert api.world.guests[InstanceId(server)].asked == 1


@pytest.mark.parametrize(("kind", "asked"), [("SOFT", 1), ("Soft", 1), ("HARD", 0), ("hard", 0)])
def test_a_server_is_rebooted(api: ApiRig, kind: str, asked: int) -> None:
    server = a_server(api)
    answer = act(api, server, "reboot", {"type": kind})
    assert answer.status == 202
    assert shown(api, server)["status"] == "ACTIVE"
    assert api.world.guests[InstanceId(server)].asked == asked


def test_a_server_is_rescued_and_comes_back(api: ApiRig) -> None:
    server = a_server(api)
    rescued = act(api, server, "rescue", {"rescue_image_ref": image(api, **RESCUABLE)})
    assert (rescued.status, rescued.body) == (200, {})
    assert shown(api, server)["status"] == "RESCUE"
    assert act(api, server, "unrescue").status == 202
    assert shown(api, server)["status"] == "ACTIVE"


def test_a_server_that_was_off_is_off_after_its_rescue(api: ApiRig) -> None:
    server = a_server(api)
    act(api, server, "os-stop")
    act(api, server, "rescue")
    act(api, server, "unrescue")
    assert shown(api, server)["status"] == "SHUTOFF"


def test_a_rescue_password_is_made_and_kept_nowhere(
    api: ApiRig, caplog: pytest.LogCaptureFixture
) -> None:
    server = a_server(api, config_drive=True)
    made = act(api, server, "rescue", {}).body["adminPass"]
    assert len(made) >= 12
    act(api, server, "unrescue")
    given = act(api, server, "rescue", {"adminPass": "the password"}).body["adminPass"]
    assert given == "the password"
    for secret in (made, given):
        assert secret not in caplog.text
        assert secret not in repr(journal_of(api, server))


def test_a_password_without_a_place_for_it_is_refused(api: ApiRig) -> None:
    server = a_server(api)
    refused = act(api, server, "rescue", {"adminPass": "secret"})
    assert refused.status == 400
    assert refused.message.startswith(f"Instance {server} cannot be rescued: ")
    assert "leave adminPass out" in refused.message
    assert len(journal_of(api, server)) == 1


def test_a_password_that_is_none_is_refused(api: ApiRig) -> None:
    server = a_server(api, config_drive=True)
    refused = act(api, server, "rescue", {"adminPass": "two\nlines"})
    assert refused.status == 400
    assert "two" not in refused.message


def test_what_boots_from_a_volume_is_rescued_since_287(api: ApiRig) -> None:
    server = from_volume(api)
    source = {"rescue_image_ref": image(api, **RESCUABLE)}
    refused = act(api, server, "rescue", source, version="2.86")
    assert refused.status == 400
    words = f"Instance {server} cannot be rescued: Cannot rescue a volume-backed instance"
    assert refused.message.startswith(words)
    assert len(journal_of(api, server)) == 1
    assert act(api, server, "rescue", source, version="2.87").status == 200


@pytest.mark.parametrize("properties", [{"hw_rescue_bus": "ide"}, {"hw_rescue_device": "tape"}])
def test_what_the_worker_would_refuse_is_refused_at_once(
    api: ApiRig, properties: dict[str, str]
) -> None:
    server = a_server(api)
    refused = act(api, server, "rescue", {"rescue_image_ref": image(api, **properties)})
    assert refused.status == 400
    assert shown(api, server)["status"] == "ACTIVE"
    assert len(journal_of(api, server)) == 1


def test_a_rescue_image_that_is_not_there_is_refused(api: ApiRig) -> None:
    server, missing = a_server(api), new_uuid()
    refused = act(api, server, "rescue", {"rescue_image_ref": missing})
    assert refused.status == 400
    assert missing in refused.message


def test_a_disk_that_is_not_attached_keeps_a_server_from_its_rescue(api: ApiRig) -> None:
    server, volume = a_server(api), api.volume()
    api.client.reserve_block_device_name(api.host, instance_uuid=server, volume_id=volume)
    refused = act(api, server, "rescue")
    assert refused.status == 400
    assert "reserved" in refused.message


ACTIONS: list[tuple[str, Json | None, set[VmState]]] = [
    ("os-start", None, {VmState.STOPPED}),
    ("os-stop", None, {VmState.ACTIVE, VmState.ERROR}),
    ("reboot", {"type": "SOFT"}, {VmState.ACTIVE}),
    (
        "reboot",
        {"type": "HARD"},
        {VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.ERROR},
    ),
    ("rescue", None, {VmState.ACTIVE, VmState.STOPPED, VmState.ERROR}),
    ("unrescue", None, {VmState.RESCUED}),
]


@pytest.mark.parametrize(("action", "value", "states"), ACTIONS)
def test_each_action_is_refused_in_the_states_that_nova_refuses_it_in(
    api: ApiRig, action: str, value: Json | None, states: set[VmState]
) -> None:
    server = a_server(api)
    for state in set(VmState) - states:
        change(api, server, vm_state=state)
        refused = act(api, server, action, value)
        assert refused.status == 409
        name = action.removeprefix("os-")
        words = f"Cannot '{name}' instance {server} while it is in vm_state {state}; it can be done"
        fit = " or ".join(sorted(states))
        assert refused.message == f"{words} while that is {fit}"
    assert len(journal_of(api, server)) == 1


@pytest.mark.parametrize(("action", "value", "states"), ACTIONS)
def test_one_thing_at_a_time(
    api: ApiRig, action: str, value: Json | None, states: set[VmState]
) -> None:
    server = a_server(api)
    change(api, server, vm_state=min(states), task_state=TaskState.POWERING_OFF)
    refused = act(api, server, action, value)
    assert refused.status == 409
    assert refused.message.endswith(
        "while it is in task_state powering-off; ask again once that has ended"
    )


def test_a_hard_reboot_goes_before_a_soft_one(api: ApiRig) -> None:
    server = a_server(api)
    change(api, server, task_state=TaskState.REBOOTING)
    assert act(api, server, "reboot", {"type": "SOFT"}).status == 409
    assert act(api, server, "reboot", {"type": "HARD"}).status == 202


def test_a_server_is_deleted_by_force(api: ApiRig) -> None:
    server = a_server(api)
    assert act(api, server, "forceDelete").status == 202
    assert api.ask("GET", f"{SERVERS}/{server}").status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"os-getConsoleOutput": {}},
        {"dance": None},
        {},
        {"os-stop": None, "os-start": None},
        {"reboot": {}},
        {"reboot": {"type": "WARM"}},
        {"reboot": None},
        {"rescue": {"rescue_image_ref": "no/id"}},
        {"rescue": {"colour": "red"}},
    ],
)
def test_what_is_no_action_is_refused(api: ApiRig, body: Json) -> None:
    server = a_server(api)
    refused = api.ask("POST", f"{SERVERS}/{server}/action", body)
    assert refused.status == 400
    assert refused.message


def test_an_unknown_action_is_told_the_known_ones(api: ApiRig) -> None:
    refused = api.ask("POST", f"{SERVERS}/{a_server(api)}/action", {"dance": None})
    assert "There is no such action: dance" in refused.message
    assert "os-start, os-stop, reboot, rescue, unrescue, forceDelete" in refused.message


@pytest.mark.parametrize(("action", "value", "_states"), ACTIONS)
def test_readers_act_on_nothing(
    api: ApiRig, action: str, value: Json | None, _states: set[VmState]
) -> None:
    assert act(asking_as(api, READER), a_server(api), action, value).status == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/action", {"os-stop": None}),
        ("POST", "/action", {"reboot": {"type": "HARD"}}),
        ("DELETE", "", None),
    ],
)
def test_an_answer_that_got_lost_is_looked_for_in_the_journal(
    api: ApiRig, method: str, path: str, body: Json | None
) -> None:
    server = a_server(api)
    rig, _ = not_answered(api, deaf=False)
    answer = rig.ask(method, f"{SERVERS}/{server}{path}", body)
    assert answer.status in {202, 204}
    assert api.end_of(answer)["state"] == "succeeded"


def test_what_is_in_no_journal_is_not_said_to_be(api: ApiRig) -> None:
    server = a_server(api)
    rig, _ = not_answered(api, deaf=True)
    answer = rig.ask("POST", f"{SERVERS}/{server}/action", {"os-stop": None})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
