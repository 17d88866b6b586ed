"""``os-server-external-events``: what Cinder tells."""

from dataclasses import replace
from typing import Any

import pytest

from tests.api_rig import ApiRig, Response
from tests.contract.api.attach_scenes import Late, on
from tests.contract.api.callers import MEMBER, asking_as
from tests.contract.api.test_attachments import SERVICE, attached
from worker.errors import NoAnswer
from worker.model.ids import InstanceId, VolumeId, new_uuid
from worker.model.volume import GIB

EVENTS = "/v2.1/os-server-external-events"


def event(server: str, name: str = "volume-extended", **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"server_uuid": server, "name": name, **fields}


def tell(api: ApiRig, *events: dict[str, Any], version: str = "2.51") -> Response:
    return api.ask("POST", EVENTS, {"events": list(events)}, version=version)


def grow(api: ApiRig, volume: str) -> None:
    known = api.world.volumes[VolumeId(volume)]
    api.world.volumes[known.id] = replace(known, size=5 * GIB)


def test_a_volume_that_was_extended_is_seen_by_its_guest(api: ApiRig) -> None:
    server, volume = attached(api)
    grow(api, volume)
    answer = tell(api, event(server, tag=volume, status="completed"))
    assert answer.status == 200
    assert answer.body == {
        "events": [
            {
                "server_uuid": server,
                "name": "volume-extended",
                "tag": volume,
                "status": "completed",
                "code": 200,
            }
        ]
    }
    ended = api.end_of(answer)
    assert (ended["method"], ended["state"]) == ("extend_volume", "succeeded")
    row = api.services.fleet.device(InstanceId(server), VolumeId(volume))
    assert row is not None
    assert row.volume_size == 5


def test_each_event_has_its_own_code(api: ApiRig) -> None:
    server, volume = attached(api)
    grow(api, volume)
    answer = tell(
        api,
        event(server, tag=volume),
        event(new_uuid(), tag=volume),
        event(server),
        event(server, tag=new_uuid()),
        event(server, "network-changed", tag=new_uuid()),
    )
    assert answer.status == 207
    told = [(one["code"], one["status"]) for one in answer.body["events"]]
    assert told == [
        (200, "completed"),
        (404, "failed"),
        (400, "failed"),
        (404, "failed"),
        (422, "failed"),
    ]
    assert api.end_of(answer)["state"] == "succeeded"


def test_what_concerns_a_network_is_none_of_ours(api: ApiRig) -> None:
    answer = tell(api, event(api.server(), "network-vif-plugged"), version="2.1")
    assert (answer.status, answer.body["events"][0]["code"]) == (207, 422)
    assert "X-Blockworker-Operation" not in answer.headers


def test_where_no_server_is_known_nothing_is(api: ApiRig) -> None:
    answer = tell(api, event(new_uuid(), tag=new_uuid()), event(new_uuid(), tag=new_uuid()))
    assert (answer.status, answer.message) == (404, "No instances found for any event")


def test_a_worker_that_does_not_answer_is_told_of(api: ApiRig) -> None:
    server, volume = attached(api)
    workers = Late(api.services.workers, "extend_volume", lambda: NoAnswer("silence"))
    silent = on(api, replace(api.services, workers=workers))  # type: ignore[arg-type]
    answer = tell(silent, event(server, tag=volume))
    assert (answer.status, answer.body["events"][0]["code"]) == (207, 503)


def test_a_worker_that_does_not_answer_is_asked_once(api: ApiRig) -> None:
    """A thousand events may come at once: nobody waits for a silent worker a thousand times."""
    server, volume = attached(api)
    workers = Late(api.services.workers, "extend_volume", lambda: NoAnswer("silence"))
    silent = on(api, replace(api.services, workers=workers))  # type: ignore[arg-type]
    answer = tell(silent, *[event(server, tag=volume)] * 3, event(new_uuid(), tag=volume))
    assert [each["code"] for each in answer.body["events"]] == [503, 503, 503, 404]
    assert len(workers.held) == 1


NAMES = {
    "volume-extended": "2.51",
    "power-update": "2.76",
    "accelerator-request-bound": "2.82",
    "volume-reimaged": "2.93",
}


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_known_since_its_microversion(api: ApiRig, name: str) -> None:
    since = int(NAMES[name].partition(".")[2])
    before = tell(api, event(new_uuid(), name), version=f"2.{since - 1}")
    assert before.status == 400
    assert tell(api, event(new_uuid(), name), version=f"2.{since}").status == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"events": []},
        {"events": [{"name": "volume-extended"}]},
        {"events": [event("no-uuid")]},
        {"events": [event(new_uuid(), "cosmic-ray")]},
        {"events": [event(new_uuid(), status="perhaps")]},
        {"events": [event(new_uuid(), tag="x" * 256)]},
        {"events": [event(new_uuid(), more=1)]},
    ],
)
def test_what_is_said_wrongly_is_refused(api: ApiRig, body: object) -> None:
    answer = api.ask("POST", EVENTS, body, version="2.51")
    assert answer.status == 400
    assert "Invalid input" in answer.message


def test_it_is_for_administrators_and_services_alone(api: ApiRig) -> None:
    server, volume = attached(api)
    assert tell(asking_as(api, MEMBER), event(server, tag=volume)).status == 403
    grow(api, volume)
    answer = tell(asking_as(api, SERVICE), event(server, tag=volume))
    assert answer.status == 200
    assert api.end_of(answer)["state"] == "succeeded"
