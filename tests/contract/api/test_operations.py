"""``/operations``: who sees what, a page at a time, and what is cancelled."""

import json

import pytest
from sqlalchemy import delete, update

from tests.api_rig import ApiRig, Response
from tests.contract.api.served import asking, member_of
from worker.model.ids import InstanceId, new_uuid
from worker.persistence.schema import INSTANCES, OPERATIONS

OTHER = "11111111-0000-4000-8000-000000000002"
THIRD = "11111111-0000-4000-8000-000000000003"


@pytest.fixture(scope="module")
def member(api: ApiRig) -> ApiRig:
    return asking(api, member_of(OTHER))


def attach(api: ApiRig, server: InstanceId) -> str:
    wanted = {"volumeAttachment": {"volumeId": api.volume()}}
    answer = api.ask("POST", f"/v2.1/servers/{server}/os-volume_attachments", wanted)
    assert api.end_of(answer)["state"] == "succeeded"
    return str(answer.headers["X-Blockworker-Operation"])


def stop(api: ApiRig, server: InstanceId) -> str:
    operation = api.client.stop_instance(api.host, instance_uuid=server)
    assert api.client.wait_for(api.host, operation, every=0.01)["state"] == "succeeded"
    return operation


def ids(response: Response) -> list[str]:
    assert response.status == 200, response.body
    return [each["operation_id"] for each in response.body["operations"]]


def set_state(api: ApiRig, operation: str, state: str) -> None:
    """Put an operation back to where nobody has begun it: the rig's worker is too quick."""
    row = update(OPERATIONS).where(OPERATIONS.c.id == operation)
    api.database.write(lambda each: each.execute(row.values(state=state)))


class TestShow:
    def test_it_is_the_journals_row_with_its_steps_and_its_host(self, api: ApiRig) -> None:
        operation = attach(api, api.server())
        shown = api.ask("GET", f"/operations/{operation}").body["operation"]
        told = api.client.get_operation(api.host, operation_id=operation)
        del told["seconds_without_guest"]
        assert shown == told | {"host": api.host}
        assert shown["steps"]
        assert "connection" not in json.dumps(shown["arguments"])

    def test_another_projects_is_as_if_it_were_not_there(self, api: ApiRig, member: ApiRig) -> None:
        mine, theirs = attach(api, api.server(OTHER)), attach(api, api.server())
        assert member.ask("GET", f"/operations/{mine}").status == 200
        refused = member.ask("GET", f"/operations/{theirs}")
        unknown = member.ask("GET", f"/operations/{new_uuid()}")
        assert refused.status == unknown.status == 404
        assert refused.message.replace(theirs, "") == "no operation "
        assert member.ask("POST", f"/operations/{theirs}/cancel").status == 404
        assert member.ask("GET", "/operations/no-uuid").status == 404

    def test_after_a_destroy_it_is_still_the_projects(self, api: ApiRig, member: ApiRig) -> None:
        server = api.server(OTHER)
        operation = attach(api, server)
        gone = api.client.destroy_instance(api.host, instance_uuid=server)
        api.client.wait_for(api.host, gone, every=0.01)
        assert member.ask("GET", f"/operations/{operation}").status == 200
        assert gone in ids(member.ask("GET", "/operations"))

    def test_one_without_an_instance_is_an_admins(self, api: ApiRig, member: ApiRig) -> None:
        operation = api.client.create_volume(api.host, volume_id=new_uuid(), size=1)
        api.client.wait_for(api.host, operation, every=0.01)
        assert api.ask("GET", f"/operations/{operation}").status == 200
        assert member.ask("GET", f"/operations/{operation}").status == 404
        assert operation in ids(api.ask("GET", "/operations"))
        assert operation not in ids(member.ask("GET", "/operations"))

    def test_a_build_that_has_made_nothing_yet_says_itself_whose_it_is(
        self, api: ApiRig, member: ApiRig
    ) -> None:
        instance, build = InstanceId(new_uuid()), new_uuid()
        api.client.build_instance(
            api.host,
            instance_uuid=instance,
            name="early",
            vcpus=1,
            memory_mb=64,
            operation_id=build,
            project_id=OTHER,
        )
        api.client.wait_for(api.host, build, every=0.01)
        rows = delete(INSTANCES).where(INSTANCES.c.uuid == instance)
        api.database.write(lambda each: each.execute(rows))
        assert member.ask("GET", f"/operations/{build}").status == 200
        assert asking(api, member_of(THIRD)).ask("GET", f"/operations/{build}").status == 404


class TestList:
    def test_newest_first_a_page_at_a_time_and_nothing_twice(self, api: ApiRig) -> None:
        server = api.server()
        begun = [attach(api, server) for _ in range(5)]
        query = f"instance_uuid={server}&limit=2"
        pages = []
        while query:
            page = api.ask("GET", "/operations", query=query)
            pages.append(ids(page))
            links = page.body.get("operations_links", [])
            query = links[0]["href"].partition("?")[2] if links else ""
        # The adoption's own is the oldest of them.
        assert [each for page in pages for each in page][:5] == begun[::-1]
        assert [len(page) for page in pages][:-1] == [2] * (len(pages) - 1)
        assert all("steps" not in each or each["steps"] == [] for each in page.body["operations"])

    def test_only_the_projects_whatever_is_asked(self, api: ApiRig, member: ApiRig) -> None:
        mine, theirs = api.server(OTHER), api.server()
        wanted, other = attach(api, mine), attach(api, theirs)
        listed = ids(member.ask("GET", "/operations"))
        assert wanted in listed
        assert other not in listed
        assert ids(member.ask("GET", "/operations", query=f"instance_uuid={theirs}")) == []
        assert {wanted, other} <= set(ids(api.ask("GET", "/operations")))

    def test_an_instance_that_was_given_away_takes_its_operations_along(
        self, api: ApiRig, member: ApiRig
    ) -> None:
        server = api.server(OTHER)
        operation = attach(api, server)
        given = update(INSTANCES).where(INSTANCES.c.uuid == server).values(project_id=THIRD)
        api.database.write(lambda each: each.execute(given))
        assert operation not in ids(member.ask("GET", "/operations"))
        assert operation in ids(asking(api, member_of(THIRD)).ask("GET", "/operations"))

    def test_by_state(self, api: ApiRig) -> None:
        server = api.server()
        operation = attach(api, server)
        set_state(api, operation, "abandoned")
        query = f"instance_uuid={server}&state=abandoned"
        assert ids(api.ask("GET", "/operations", query=query)) == [operation]

    @pytest.mark.parametrize(
        "query",
        ["state=lost", "limit=-1", "limit=x", "marker=x", "wrong=1", "limit=1&limit=2"],
    )
    def test_what_cannot_be_meant_is_refused(self, api: ApiRig, query: str) -> None:
        assert api.ask("GET", "/operations", query=query).status == 400

    def test_a_marker_that_is_not_the_callers_is_refused(self, api: ApiRig, member: ApiRig) -> None:
        theirs = attach(api, api.server())
        refused = member.ask("GET", "/operations", query=f"marker={theirs}")
        assert (refused.status, "marker" in refused.message) == (400, True)


class TestCancel:
    def test_one_that_has_ended_is_a_conflict_that_says_so(self, api: ApiRig) -> None:
        operation = stop(api, api.server())
        refused = api.ask("POST", f"/operations/{operation}/cancel")
        assert (refused.status, "succeeded" in refused.message) == (409, True)

    def test_one_that_waits_is_asked_to_end(self, api: ApiRig, member: ApiRig) -> None:
        operation = stop(api, api.server(OTHER))
        set_state(api, operation, "queued")
        answer = member.ask("POST", f"/operations/{operation}/cancel")
        assert answer.status == 202, answer.body
        assert answer.body["operation"]["cancel_requested"]
        assert answer.body["operation"]["host"] == api.host
        set_state(api, operation, "succeeded")

    def test_what_an_instance_was_exported_as_is_not_told(
        self, api: ApiRig, member: ApiRig
    ) -> None:
        """It has how each volume is connected."""
        operation = stop(api, api.server(OTHER))
        row = update(OPERATIONS).where(OPERATIONS.c.id == operation)
        told = {"arguments": {"document": "connection"}, "state": "queued"}
        api.database.write(lambda each: each.execute(row.values(told)))
        answers = (
            member.ask("GET", f"/operations/{operation}"),
            member.ask("POST", f"/operations/{operation}/cancel"),
        )
        set_state(api, operation, "succeeded")
        assert [each.body["operation"]["arguments"] for each in answers] == [{}, {}]
