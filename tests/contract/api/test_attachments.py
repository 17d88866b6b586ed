"""Volumes of a server, as Nova's clients ask for them."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from tests.api_rig import ApiRig, Response
from tests.contract.api.attach_scenes import attach, found, later, on, settle
from tests.contract.api.callers import MEMBER, READER, STRANGER, asking_as
from tests.contract.api.server_scenes import not_answered
from worker.api.asked import Who
from worker.api.services import Limits
from worker.model.block_device import DeviceStatus
from worker.model.ids import InstanceId, VolumeId, new_uuid
from worker.model.instance import TaskState, VmState
from worker.model.volume import GIB, VolumeStatus
from worker.persistence.schema import BLOCK_DEVICES, INSTANCES

ANOTHER = "0a0b0c0d-0000-4000-8000-000000000001"

SERVICE = Who(user_id="cinder", project_id=new_uuid(), roles=frozenset({"service"}))


def attachments(server: str, volume: str = "") -> str:
    return f"/v2.1/servers/{server}/os-volume_attachments" + (f"/{volume}" if volume else "")


def attached(api: ApiRig, server: InstanceId | None = None, **fields: Any) -> tuple[str, str]:  # noqa: ANN401
    """Return a server and a volume that it has."""
    server, volume = server or api.server(), api.volume()
    answer = attach(api, server, volume, **fields)
    assert answer.status in (200, 202), answer
    assert api.end_of(answer)["state"] == "succeeded"
    return server, volume


def put(api: ApiRig, server: str, volume: str, version: str = "2.85", **fields: Any) -> Response:  # noqa: ANN401
    body = {"volumeAttachment": {"volumeId": volume, **fields}}
    return api.ask("PUT", attachments(server, volume), body, version=version)


def say(api: ApiRig, server: str, **values: object) -> None:
    """Let the server's row say something else."""
    change = update(INSTANCES).where(INSTANCES.c.uuid == server).values(**values)
    api.database.write(lambda connection: connection.execute(change))


def say_of(api: ApiRig, server: str, **values: object) -> None:
    """Let the rows of the server's volumes say something else."""
    change = update(BLOCK_DEVICES).where(BLOCK_DEVICES.c.instance_uuid == server).values(**values)
    api.database.write(lambda connection: connection.execute(change))


def test_a_volume_is_attached_listed_shown_and_detached(api: ApiRig) -> None:
    server, volume = attached(api)

    listed = api.ask("GET", attachments(server), version="2.1")
    assert listed.body == {
        "volumeAttachments": [
            {"id": volume, "serverId": server, "volumeId": volume, "device": "/dev/vda"}
        ]
    }
    shown = api.ask("GET", attachments(server, volume))
    assert shown.body["volumeAttachment"]["bdm_uuid"]

    detached = api.ask("DELETE", attachments(server, volume))
    assert (detached.status, detached.body) == (202, None)
    assert api.end_of(detached)["state"] == "succeeded"
    assert api.ask("GET", attachments(server, volume)).status == 404


VIEWS = {
    "2.1": {"id", "serverId", "volumeId", "device"},
    "2.69": {"id", "serverId", "volumeId", "device"},
    "2.70": {"id", "serverId", "volumeId", "device", "tag"},
    "2.78": {"id", "serverId", "volumeId", "device", "tag"},
    "2.79": {"id", "serverId", "volumeId", "device", "tag", "delete_on_termination"},
    "2.88": {"id", "serverId", "volumeId", "device", "tag", "delete_on_termination"},
    "2.89": {
        *("serverId", "volumeId", "device", "tag", "delete_on_termination"),
        *("attachment_id", "bdm_uuid"),
    },
}


@pytest.mark.parametrize("version", VIEWS)
def test_each_microversion_has_its_view(api: ApiRig, version: str) -> None:
    server, volume = attached(api, tag="data", delete_on_termination=True)
    one = api.ask("GET", attachments(server, volume), version=version).body["volumeAttachment"]
    (listed,) = api.ask("GET", attachments(server), version=version).body["volumeAttachments"]
    assert one == listed
    assert set(one) == VIEWS[version]
    assert one.get("tag", "data") == "data"
    assert one.get("delete_on_termination", True) is True
    row = api.services.fleet.device(InstanceId(server), VolumeId(volume))
    assert row is not None
    assert one.get("attachment_id", row.attachment) == row.attachment
    assert one.get("bdm_uuid", row.uuid) == row.uuid


@pytest.mark.parametrize("version", ["2.1", "2.70", "2.79", "2.89", "2.100"])
def test_the_answer_to_an_attach_has_the_device_and_always_an_id(api: ApiRig, version: str) -> None:
    server, volume = api.server(), api.volume()
    answer = attach(api, server, volume, version=version, device="/dev/vdc")
    assert answer.status == 200
    minor = int(version.partition(".")[2])
    wanted: dict[str, object] = {
        "id": volume,
        "serverId": server,
        "volumeId": volume,
        "device": "/dev/vdc",
    }
    wanted |= {"tag": None} if minor >= 70 else {}
    wanted |= {"delete_on_termination": False} if minor >= 79 else {}
    assert answer.body == {"volumeAttachment": wanted}


def test_since_2_101_an_attach_is_accepted_and_no_more(api: ApiRig) -> None:
    server, volume = api.server(), api.volume()
    answer = attach(api, server, volume)
    assert (answer.status, answer.body) == (202, None)
    assert api.end_of(answer)["method"] == "attach_volume"


@pytest.mark.parametrize(("said", "kept"), [("yes", True), ("False", False), (True, True)])
def test_delete_on_termination_is_said_as_nova_takes_it(
    api: ApiRig, said: object, *, kept: bool
) -> None:
    server, volume = attached(api, delete_on_termination=said)
    shown = api.ask("GET", attachments(server, volume)).body["volumeAttachment"]
    assert shown["delete_on_termination"] is kept


class TestAList:
    def test_has_a_page(self, api: ApiRig) -> None:
        server = api.server()
        volumes = [attached(api, server)[1] for _ in range(3)]

        def page(query: str, rig: ApiRig = api) -> list[str]:
            answer = rig.ask("GET", attachments(server), query=query)
            return [one["volumeId"] for one in answer.body["volumeAttachments"]]

        assert page("") == volumes
        assert page("limit=2") == volumes[:2]
        assert page("limit=2&offset=2") == volumes[2:]
        assert page("offset=1") == volumes[1:]
        assert page("limit=0") == volumes
        small = on(api, replace(api.services, limits=Limits(page=1)))
        assert page("limit=9", small) == volumes[:1]

    @pytest.mark.parametrize("query", ["limit=-1", "limit=x", "offset=1.5", "limit="])
    def test_takes_numbers(self, api: ApiRig, query: str) -> None:
        assert api.ask("GET", attachments(api.server()), query=query).status == 400

    def test_takes_no_other_name_since_2_75(self, api: ApiRig) -> None:
        server = api.server()
        assert api.ask("GET", attachments(server), query="a=1", version="2.74").status == 200
        assert api.ask("GET", attachments(server), query="a=1", version="2.75").status == 400

    def test_has_none_that_is_half_made(self, api: ApiRig) -> None:
        """Whoever were told of it would find it without its attachment, or not find it again."""
        server, volume = attached(api)
        kept = api.services.fleet.device(InstanceId(server), VolumeId(volume))
        assert kept is not None
        for status in ("reserved", "attaching"):
            say_of(api, server, status=status, attachment_id=None)
            assert api.ask("GET", attachments(server)).body == {"volumeAttachments": []}
            assert api.ask("GET", attachments(server, volume)).status == 404
        say_of(api, server, attachment_id=kept.attachment)
        assert api.ask("GET", attachments(server, volume)).status == 200
        say_of(api, server, status="attached", attachment_id=None)
        shown = api.ask("GET", attachments(server, volume)).body["volumeAttachment"]
        assert shown["attachment_id"] is None, "an adopted one has none, and is there"


class TestAnAttachIsRefused:
    def test_while_the_server_is_in_another_state(self, api: ApiRig) -> None:
        server, volume = api.server(), api.volume()
        for state in set(VmState) - {VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED}:
            say(api, server, vm_state=state.value)
            answer = attach(api, server, volume)
            assert answer.status == 409
            assert answer.message == (
                f"Cannot 'attach_volume' instance {server} while it is in vm_state {state.value};"
                " it can be done while that is active or paused or stopped"
            )
        say(api, server, vm_state="active", task_state=TaskState.REBOOTING.value)
        assert attach(api, server, volume).message.endswith(
            "task_state rebooting; ask again once that has ended"
        )
        assert api.services.fleet.devices(server) == ()

    def test_for_a_shared_volume_before_2_60(self, api: ApiRig) -> None:
        server, volume = api.server(), api.volume(multiattach=True)
        answer = attach(api, server, volume, version="2.59")
        assert answer.status == 400
        assert answer.message == (
            "Multiattach volumes are only supported starting with compute API version 2.60."
        )
        assert attach(api, server, volume, version="2.60").status == 200

    def test_for_a_volume_that_is_not_there(self, api: ApiRig) -> None:
        assert attach(api, api.server(), new_uuid()).status == 404

    def test_for_another_projects_volume_as_if_there_were_none(self, api: ApiRig) -> None:
        """The volume service is asked as the worker, which may have all."""
        server, volume = api.server(), api.volume(project_id=new_uuid())
        ownerless = api.volume(project_id=None)
        member = asking_as(api, MEMBER)
        assert attach(member, server, volume).status == 404
        assert attach(member, server, ownerless).status == 404
        assert attach(api, server, volume).status == 202

    def test_for_what_has_it_already(self, api: ApiRig) -> None:
        server, volume = attached(api)
        answer = attach(api, InstanceId(server), VolumeId(volume))
        assert answer.status == 400
        assert answer.message.startswith(f"Invalid volume: volume {volume} already attached")

    def test_for_what_another_server_has(self, api: ApiRig) -> None:
        _, volume = attached(api)
        assert attach(api, api.server(), VolumeId(volume)).status == 400

    def test_for_a_name_that_is_taken(self, api: ApiRig) -> None:
        server, _ = attached(api, device="/dev/vdc")
        assert attach(api, InstanceId(server), api.volume(), device="/dev/vdc").status == 409

    @pytest.mark.parametrize(
        ("fields", "version"),
        [
            ({"volumeId": "not-a-uuid"}, "2.1"),
            ({"volumeId": 7}, "2.1"),
            ({}, "2.1"),
            ({"device": "vdb"}, "2.1"),
            ({"tag": "data"}, "2.48"),
            ({"tag": "a/b"}, "2.49"),
            ({"tag": "x" * 61}, "2.49"),
            ({"delete_on_termination": True}, "2.78"),
            ({"delete_on_termination": "perhaps"}, "2.79"),
            ({"something": 1}, "2.101"),
        ],
    )
    def test_for_a_body_that_says_it_wrongly(
        self, api: ApiRig, fields: dict[str, object], version: str
    ) -> None:
        server = api.server()
        body = {"volumeId": api.volume()} | fields if fields else {}
        answer = api.ask("POST", attachments(server), {"volumeAttachment": body}, version=version)
        assert answer.status == 400
        assert "Invalid input" in answer.message
        assert api.services.fleet.devices(server) == ()

    def test_of_another_projects_server_nobody_learns(self, api: ApiRig) -> None:
        server, volume = attached(api)
        stranger = asking_as(api, STRANGER)
        for method, where in (
            ("GET", attachments(server)),
            ("GET", attachments(server, volume)),
            ("DELETE", attachments(server, volume)),
        ):
            assert stranger.ask(method, where).status == 404
        assert attach(stranger, server, volume).status == 404
        assert put(stranger, server, volume).status == 404

    def test_for_a_reader(self, api: ApiRig) -> None:
        server, volume = attached(api)
        reader = asking_as(api, READER)
        assert reader.ask("GET", attachments(server)).status == 200
        assert reader.ask("DELETE", attachments(server, volume)).status == 403
        assert attach(reader, server, volume).status == 403
        assert put(reader, server, volume).status == 403


class TestADetachIsRefused:
    def test_of_a_root_device(self, api: ApiRig) -> None:
        server, volume = attached(api)
        say_of(api, server, boot_index=0)
        answer = api.ask("DELETE", attachments(server, volume))
        assert (answer.status, answer.message) == (400, "Cannot detach a root device volume")

    def test_in_rescue(self, api: ApiRig) -> None:
        server, volume = attached(api)
        say(api, server, vm_state="rescued")
        answer = api.ask("DELETE", attachments(server, volume))
        assert answer.status == 409
        assert answer.message.startswith(f"Cannot 'detach_volume' instance {server} while")

    def test_of_what_is_not_attached(self, api: ApiRig) -> None:
        assert api.ask("DELETE", attachments(api.server(), api.volume())).status == 404
        assert api.ask("DELETE", attachments(api.server(), "nonsense")).status == 404

    def test_of_what_is_being_attached_or_detached(self, api: ApiRig) -> None:
        server, volume = attached(api)
        for status, code in (("reserved", 409), ("detaching", 400)):
            say_of(api, server, status=status)
            assert api.ask("DELETE", attachments(server, volume)).status == code

    def test_but_one_that_attaches_waits_for_its_turn(self, api: ApiRig) -> None:
        server, volume = api.server(), api.volume()
        assert attach(api, server, volume).status == 202
        until = later(api)
        answer = until.ask("DELETE", attachments(server, volume))
        while answer.status == 409:
            answer = until.ask("DELETE", attachments(server, volume))
        assert answer.status == 202
        settle(api, server)
        assert api.services.fleet.devices(server) == ()


class TestASwap:
    def test_puts_the_other_volume_in_its_place(self, api: ApiRig) -> None:
        server, volume = attached(api)
        other = api.volume()
        body = {"volumeAttachment": {"volumeId": other}}
        answer = api.ask("PUT", attachments(server, volume), body, version="2.1")
        assert (answer.status, answer.body) == (202, None)
        assert api.end_of(answer)["state"] == "succeeded"
        assert api.ask("GET", attachments(server, other)).status == 200
        assert api.ask("GET", attachments(server, volume)).status == 404
        assert api.world.volumes[VolumeId(volume)].status is VolumeStatus.AVAILABLE

    def test_can_be_asked_for_with_a_change_since_2_85(self, api: ApiRig) -> None:
        server, volume = attached(api)
        other = api.volume()
        body = {"volumeAttachment": {"volumeId": other, "delete_on_termination": True}}
        answer = api.ask("PUT", attachments(server, volume), body)
        assert answer.status == 202
        assert len(answer.headers["X-Blockworker-Operation"].split(",")) == 2
        settle(api, InstanceId(server))
        shown = api.ask("GET", attachments(server, other)).body["volumeAttachment"]
        assert shown["delete_on_termination"] is True

    def test_is_for_administrators_and_services_alone(self, api: ApiRig) -> None:
        server, volume = attached(api)
        body = {"volumeAttachment": {"volumeId": api.volume()}}
        member, service = asking_as(api, MEMBER), asking_as(api, SERVICE)
        for version in ("2.1", "2.85"):
            answer = member.ask("PUT", attachments(server, volume), body, version=version)
            assert answer.status == 403
        answer = service.ask("PUT", attachments(server, volume), body, version="2.1")
        assert answer.status == 202
        assert api.end_of(answer)["state"] == "succeeded"

    def test_is_refused_for_what_does_not_fit(self, api: ApiRig) -> None:
        server, volume = attached(api)
        api.world.volumes[VolumeId(volume)] = replace(
            api.world.volumes[VolumeId(volume)], size=2 * GIB
        )
        _, used = attached(api)
        wanted: dict[str, int] = {
            new_uuid(): 400,
            api.volume(): 400,
            used: 400,
            api.volume(multiattach=True): 400,
        }
        for other, status in wanted.items():
            body = {"volumeAttachment": {"volumeId": other}}
            answer = api.ask("PUT", attachments(server, volume), body, version="2.1")
            assert answer.status == status, answer
        missing = {"volumeAttachment": {"volumeId": api.volume()}}
        assert api.ask("PUT", attachments(server, new_uuid()), missing).status == 404
        assert api.ask("PUT", attachments(new_uuid(), volume), missing, version="2.1").status == 404
        assert api.ask("PUT", attachments("x", volume), missing, version="2.1").status == 404

    def test_is_refused_while_the_guest_is_off_or_the_volume_on_its_way(self, api: ApiRig) -> None:
        server, volume = attached(api)
        body = {"volumeAttachment": {"volumeId": api.volume()}}
        say(api, server, vm_state="stopped")
        assert api.ask("PUT", attachments(server, volume), body, version="2.1").status == 409
        say(api, server, vm_state="active")
        say_of(api, server, status=DeviceStatus.DETACHING.value)
        assert api.ask("PUT", attachments(server, volume), body, version="2.1").status == 409


class TestAChange:
    def test_of_delete_on_termination(self, api: ApiRig) -> None:
        server, volume = attached(api, tag="data")
        member = asking_as(api, MEMBER)
        answer = put(
            member,
            server,
            volume,
            delete_on_termination=True,
            tag="data",
            device="/dev/vda",
            id=volume,
            serverId=server,
        )
        assert (answer.status, answer.body) == (202, None)
        assert api.end_of(answer)["state"] == "succeeded"
        shown = api.ask("GET", attachments(server, volume)).body["volumeAttachment"]
        assert shown["delete_on_termination"] is True

    def test_of_nothing_is_no_operation(self, api: ApiRig) -> None:
        server, volume = attached(api)
        answer = put(api, server, volume, delete_on_termination=False)
        assert answer.status == 202
        assert "X-Blockworker-Operation" not in answer.headers

    @pytest.mark.parametrize(
        ("name", "value"),
        [("tag", "other"), ("device", "/dev/vdz"), ("id", ANOTHER), ("serverId", ANOTHER)],
    )
    def test_of_anything_else_is_refused(self, api: ApiRig, name: str, value: str) -> None:
        server, volume = attached(api, tag="data")
        answer = put(api, server, volume, delete_on_termination=True, **{name: value})
        assert answer.status == 400
        assert f"The {name} property is not mutable" in answer.message
        shown = api.ask("GET", attachments(server, volume)).body["volumeAttachment"]
        assert shown["delete_on_termination"] is False

    def test_is_not_there_before_2_85(self, api: ApiRig) -> None:
        server, volume = attached(api)
        answer = put(api, server, volume, version="2.84", delete_on_termination=True)
        assert answer.status == 400


def test_a_worker_is_told_who_asked(api: ApiRig) -> None:
    server, volume = api.server(), api.volume()
    answer = attach(api, server, volume)
    told = api.services.fleet.operation(answer.headers["X-Blockworker-Operation"])  # type: ignore[arg-type]
    assert told is not None
    assert told.operation.request_id == answer.headers["X-Openstack-Request-Id"]


def test_a_volume_may_be_said_in_capitals(api: ApiRig) -> None:
    server, volume = api.server(), api.volume()
    assert attach(api, server, volume.upper()).status == 202
    assert found(api, server, volume).in_guest


def test_a_detach_whose_answer_got_lost_is_looked_for_in_the_journal(api: ApiRig) -> None:
    server, volume = attached(api)
    rig, _ = not_answered(api, deaf=False)
    answer = rig.ask("DELETE", attachments(server, volume))
    assert answer.status == 202
    assert api.end_of(answer)["state"] == "succeeded"


def test_so_is_a_change_of_what_is_said_of_a_volume(api: ApiRig) -> None:
    server, volume = attached(api)
    rig, _ = not_answered(api, deaf=False)
    answer = put(rig, server, volume, delete_on_termination=True)
    assert answer.status == 202
    assert api.end_of(answer)["state"] == "succeeded"


def test_a_detach_that_no_journal_has_is_not_accepted(api: ApiRig) -> None:
    server, volume = attached(api)
    rig, _ = not_answered(api, deaf=True)
    answer = rig.ask("DELETE", attachments(server, volume))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
