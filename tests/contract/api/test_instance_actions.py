"""``os-instance-actions``: the journal in Nova's words."""

from datetime import datetime, timedelta
from hashlib import sha224

import pytest

from tests.api_rig import NEWEST, ApiRig, Json
from tests.contract.api.served import asking, member_of
from worker.model.ids import InstanceId, new_uuid

OTHER = "11111111-0000-4000-8000-000000000004"


@pytest.fixture(scope="module")
def member(api: ApiRig) -> ApiRig:
    return asking(api, member_of(OTHER))


def path(server: InstanceId, request: str = "") -> str:
    return f"/v2.1/servers/{server}/os-instance-actions" + (f"/{request}" if request else "")


def attach(api: ApiRig, server: InstanceId) -> str:
    """Attach a volume; return the request's id."""
    wanted = {"volumeAttachment": {"volumeId": api.volume()}}
    answer = api.ask("POST", f"/v2.1/servers/{server}/os-volume_attachments", wanted)
    api.end_of(answer)
    return str(answer.headers["X-Openstack-Request-Id"])


def done(api: ApiRig, operation: str) -> Json:
    return api.client.wait_for(api.host, operation, every=0.01)


def actions(api: ApiRig, server: InstanceId, query: str = "", version: str = NEWEST) -> list[Json]:
    answer = api.ask("GET", path(server), query=query, version=version)
    assert answer.status == 200, answer.body
    found: list[Json] = answer.body["instanceActions"]
    return found


class TestList:
    def test_each_in_novas_words_newest_first(self, api: ApiRig) -> None:
        server = api.server()
        attached = attach(api, server)
        stopped = api.client.stop_instance(api.host, instance_uuid=server)
        done(api, stopped)
        done(api, api.client.start_instance(api.host, instance_uuid=server, request_id="req-x"))
        found = actions(api, server)
        assert [each["action"] for each in found][:3] == ["start", "stop", "attach_volume"]
        assert [each["request_id"] for each in found][:3] == ["req-x", f"req-{stopped}", attached]
        assert {each["instance_uuid"] for each in found} == {server}
        assert all(each["project_id"] and each["user_id"] == "admin" for each in found)
        times = [datetime.fromisoformat(each["start_time"]) for each in found]
        assert times == sorted(times, reverse=True)
        assert not any(time.tzinfo for time in times)

    def test_updated_at_is_there_from_2_58(self, api: ApiRig) -> None:
        server = api.server()
        attach(api, server)
        assert "updated_at" in actions(api, server, version="2.58")[0]
        assert "updated_at" not in actions(api, server, version="2.57")[0]

    def test_a_failed_one_says_error_and_no_more(self, api: ApiRig) -> None:
        server = api.server()
        operation = api.client.detach_volume(api.host, instance_uuid=server, volume_id=new_uuid())
        assert done(api, operation)["state"] == "failed"
        assert actions(api, server)[0]["message"] == "Error"
        attach(api, server)
        assert actions(api, server)[0]["message"] is None

    def test_a_page_at_a_time(self, api: ApiRig) -> None:
        server = api.server()
        whole = [attach(api, server) for _ in range(5)][::-1]
        first = api.ask("GET", path(server), query="limit=2")
        query = first.body["links"][0]["href"].partition("?")[2]
        second = actions(api, server, query)
        got = first.body["instanceActions"] + second
        assert [each["request_id"] for each in got] == whole[:4]
        assert actions(api, server, "limit=0") == []

    def test_two_operations_of_one_request_are_one_action(self, api: ApiRig) -> None:
        server = api.server()
        before = len(actions(api, server))
        for volume in (api.volume(), api.volume()):
            row = api.client.reserve_block_device_name(
                api.host, instance_uuid=server, volume_id=volume
            )
            done(
                api,
                api.client.attach_volume(
                    api.host, instance_uuid=server, bdm_uuid=row["uuid"], request_id="req-both"
                ),
            )
        assert len(actions(api, server)) == before + 1
        shown = api.ask("GET", path(server, "req-both")).body["instanceAction"]
        names = [event["event"] for event in shown["events"]]
        assert names.count("compute_attach_volume") == 2

    def test_what_changed_since_and_before(self, api: ApiRig) -> None:
        server = api.server()
        requests = [attach(api, server) for _ in range(2)]
        newest, older = actions(api, server)[:2]
        since = actions(api, server, f"changes-since={newest['updated_at']}Z")
        assert [each["request_id"] for each in since] == [requests[1]]
        before = actions(api, server, f"changes-before={older['updated_at']}%2B00:00")
        assert requests[0] in [each["request_id"] for each in before]
        assert requests[1] not in [each["request_id"] for each in before]
        later = datetime.fromisoformat(newest["updated_at"]) + timedelta(days=1)
        query = f"changes-since={later.isoformat()}&changes-before={newest['updated_at']}"
        assert api.ask("GET", path(server), query=query).status == 400

    @pytest.mark.parametrize(
        ("query", "version"),
        [
            ("changes-before=2020-01-01", "2.65"),
            ("changes-since=yesterday", "2.58"),
            ("marker=req-unknown", "2.58"),
            ("limit=few", "2.58"),
            ("all=1", "2.58"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, api: ApiRig, query: str, version: str) -> None:
        answer = api.ask("GET", path(api.server()), query=query, version=version)
        assert answer.status == 400
        assert api.ask("GET", path(api.server()), query="all=1", version="2.57").status == 200


class TestShow:
    def test_the_operation_and_its_steps_are_its_events(self, api: ApiRig) -> None:
        server = api.server()
        request = attach(api, server)
        shown = api.ask("GET", path(server, request)).body["instanceAction"]
        first, *steps = shown["events"]
        assert (shown["action"], first["event"]) == ("attach_volume", "compute_attach_volume")
        assert "connector.connect" in [step["event"] for step in steps]
        assert {event["result"] for event in shown["events"]} == {"Success"}
        assert all(event["finish_time"] >= event["start_time"] for event in shown["events"])
        assert first["host"] == api.host
        assert first["traceback"] is None

    def test_what_an_operation_without_a_request_is_called_leads_back_to_it(
        self, api: ApiRig
    ) -> None:
        server = api.server()
        operation = api.client.stop_instance(api.host, instance_uuid=server)
        done(api, operation)
        shown = api.ask("GET", path(server, f"req-{operation}")).body["instanceAction"]
        assert shown["action"] == "stop"
        assert api.ask("GET", path(server, f"req-{new_uuid()}")).status == 404

    def test_by_microversion_and_by_who_asks(self, api: ApiRig, member: ApiRig) -> None:
        server = api.server(OTHER)
        request = attach(api, server)
        operation = api.client.detach_volume(api.host, instance_uuid=server, volume_id=new_uuid())
        done(api, operation)

        def events(who: ApiRig, version: str, of: str = request) -> list[Json] | None:
            shown = who.ask("GET", path(server, of), version=version).body["instanceAction"]
            found: list[Json] | None = shown.get("events")
            return found

        hashed = sha224(f"{OTHER}{api.host}".encode()).hexdigest()
        assert events(member, "2.50") is None
        assert "traceback" in (events(api, "2.50") or [{}])[0]
        assert set((events(member, "2.51") or [{}])[0]) == {
            *("event", "start_time", "finish_time", "result")
        }
        assert (events(member, "2.62") or [{}])[0]["hostId"] == hashed
        assert "host" not in (events(member, "2.84") or [{}])[0]
        assert "details" not in (events(member, "2.84") or [{}])[0]
        assert "details" not in (events(api, "2.83") or [{}])[0]
        why = (events(api, "2.84", f"req-{operation}") or [{}])[0]
        assert why["result"] == "Error"
        assert why["details"].startswith("block_device.")

    def test_another_projects_server_is_not_there(self, api: ApiRig, member: ApiRig) -> None:
        server = api.server()
        request = attach(api, server)
        assert member.ask("GET", path(server)).status == 404
        assert member.ask("GET", path(server, request)).status == 404
        other = attach(api, api.server())
        assert api.ask("GET", path(server, other)).status == 404

    def test_a_deleted_server_is_there_from_2_21(self, api: ApiRig, member: ApiRig) -> None:
        server = api.server(OTHER)
        done(api, api.client.destroy_instance(api.host, instance_uuid=server))
        assert actions(member, server, version="2.21")[0]["action"] == "delete"
        assert member.ask("GET", path(server), version="2.20").status == 404
