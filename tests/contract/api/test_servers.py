"""Servers, as Nova's clients list and show them."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.api_rig import ApiRig
from tests.contract.api.callers import MEMBER, READER, STRANGER, asking_as
from tests.contract.api.server_scenes import (
    SERVERS,
    a_server,
    accepted_elsewhere,
    failed_build,
    ids,
    image,
    listed,
    shown,
)
from worker.api.front.open_door import PROJECT
from worker.model.ids import InstanceId, new_uuid
from worker.model.instance import TaskState, VmState
from worker.persistence.schema import INSTANCES, LEASES


def change(api: ApiRig, server: str, **values: object) -> None:
    changed = update(INSTANCES).where(INSTANCES.c.uuid == server).values(**values)
    api.database.write(lambda each: each.execute(changed))


def test_a_server_is_shown_with_what_it_was_made_of(api: ApiRig) -> None:
    source, volume = image(api, hw_disk_bus="virtio"), api.volume()
    disks = [{"source_type": "volume", "uuid": volume, "delete_on_termination": True}]
    server = a_server(
        api,
        imageRef=source,
        metadata={"role": "web"},
        config_drive=True,
        block_device_mapping_v2=disks,
    )
    found = shown(api, server)
    assert found["status"] == "ACTIVE"
    assert (found["tenant_id"], found["user_id"]) == (PROJECT, "admin")
    assert found["metadata"] == {"role": "web"}
    assert found["config_drive"] == "True"
    assert found["image"]["id"] == source
    assert found["image"]["properties"] == {"hw_disk_bus": "virtio"}
    assert found["flavor"]["original_name"] == "m1.tiny"
    attached = [{"id": volume, "delete_on_termination": True}]
    assert found["os-extended-volumes:volumes_attached"] == attached
    assert found["OS-EXT-SRV-ATTR:host"] == api.host
    assert found["host_status"] == "UP"
    assert found["server_groups"] == []


def test_a_server_that_other_hands_made_is_shown_too(api: ApiRig) -> None:
    found = shown(api, api.server())
    assert (found["status"], found["image"]) == ("ACTIVE", "")
    assert found["flavor"]["original_name"] == "adopted"
    assert shown(api, found["id"], "2.46")["flavor"]["id"] == "unlisted"


def test_lists_have_what_showing_has(api: ApiRig) -> None:
    server = a_server(api)
    alone = shown(api, server)
    alone.pop("server_groups")
    assert alone in listed(api)
    brief = next(each for each in listed(api, what="") if each["id"] == server)
    assert set(brief) == {"id", "name", "links"}


def test_only_administrators_see_hosts(api: ApiRig) -> None:
    server = a_server(api)
    found = shown(asking_as(api, READER), server)
    assert not [name for name in found if "host_status" in name or name.endswith(":host")]
    assert found["OS-EXT-SRV-ATTR:hostname"] == found["name"]
    assert "OS-EXT-SRV-ATTR:hostname" not in shown(asking_as(api, READER), server, "2.89")


def test_a_host_without_a_worker_is_down(api: ApiRig) -> None:
    with accepted_elsewhere(api) as server:
        assert shown(api, server)["host_status"] == "DOWN"


def test_another_projects_server_is_not_there(api: ApiRig) -> None:
    server, stranger = a_server(api), asking_as(api, STRANGER)
    for method, body in (("GET", None), ("DELETE", None), ("PUT", {"server": {}})):
        refused = stranger.ask(method, f"{SERVERS}/{server}", body)
        assert refused.status == 404
        assert refused.message == f"Instance {server} could not be found."
    refused = stranger.ask("POST", f"{SERVERS}/{server}/action", {"os-stop": None})
    assert refused.status == 404
    assert listed(stranger) == []
    assert server in ids(listed(api))


def test_a_marker_of_another_project_is_none(api: ApiRig) -> None:
    query = f"marker={a_server(api)}"
    assert asking_as(api, STRANGER).ask("GET", SERVERS, query=query).status == 400


def test_pages_follow_each_other_without_a_gap(api: ApiRig) -> None:
    project = new_uuid()
    servers = [api.server(project) for _ in range(3)]
    with accepted_elsewhere(api, project=project) as coming:
        expected = [coming, *reversed(servers)]
        query = f"all_tenants=1&project_id={project}&limit=1"
        found: list[str] = []
        while True:
            answer = api.ask("GET", SERVERS, query=query)
            found += ids(answer.body["servers"])
            if "servers_links" not in answer.body:
                break
            (link,) = answer.body["servers_links"]
            assert link["rel"] == "next"
            path, _, query = link["href"].partition("?")
            assert path.endswith("/v2.1/servers")
        assert found == expected


def test_a_page_that_is_just_full_is_the_last(api: ApiRig) -> None:
    project = new_uuid()
    api.server(project)
    answer = api.ask("GET", SERVERS, query=f"all_tenants=1&project_id={project}&limit=1")
    assert len(answer.body["servers"]) == 1
    assert "servers_links" not in answer.body


@pytest.mark.parametrize(
    ("state", "task", "status"),
    [
        (VmState.ACTIVE, None, "ACTIVE"),
        (VmState.ACTIVE, TaskState.REBOOTING, "REBOOT"),
        (VmState.ACTIVE, TaskState.REBOOTING_HARD, "HARD_REBOOT"),
        (VmState.STOPPED, None, "SHUTOFF"),
        (VmState.STOPPED, TaskState.POWERING_ON, "SHUTOFF"),
        (VmState.RESCUED, None, "RESCUE"),
        (VmState.PAUSED, None, "PAUSED"),
        (VmState.ERROR, None, "ERROR"),
        (VmState.BUILDING, TaskState.BUILDING, "BUILD"),
    ],
)
def test_a_status_is_shown_and_found_by(
    api: ApiRig, state: VmState, task: TaskState | None, status: str
) -> None:
    project = new_uuid()
    server, other = api.server(project), api.server(project)
    change(api, server, vm_state=state, task_state=task)
    different = VmState.STOPPED if state is VmState.ACTIVE else VmState.ACTIVE
    change(api, other, vm_state=different)
    mine = f"all_tenants=1&project_id={project}"
    assert shown(api, server)["status"] == status
    assert ids(listed(api, f"{mine}&status={status.lower()}")) == [server]
    assert set(ids(listed(api, f"{mine}&status=ACTIVE&status={status}"))) >= {server}


def test_active_is_not_rebooting(api: ApiRig) -> None:
    project = new_uuid()
    change(api, api.server(project), task_state=TaskState.REBOOTING)
    assert listed(api, f"all_tenants=1&project_id={project}&status=ACTIVE") == []


def test_a_status_that_no_server_has_finds_none(api: ApiRig) -> None:
    a_server(api)
    assert listed(api, "status=VERIFY_RESIZE") == []


def test_servers_are_found_by_name(api: ApiRig) -> None:
    word = new_uuid()[:8]
    first, second = a_server(api, name=f"{word}-1"), a_server(api, name=f"2-{word}")
    assert set(ids(listed(api, f"name={word}"))) == {first, second}
    assert ids(listed(api, f"name=^{word}")) == [first]
    assert ids(listed(api, f"name={word}$")) == [second]
    assert ids(listed(api, f"name=^{word}-1$")) == [first]
    assert listed(api, f"name=^{word}$") == []
    assert listed(api, "name=%25") == []


def test_servers_are_found_by_host_by_administrators(api: ApiRig) -> None:
    server = a_server(api)
    assert server in ids(listed(api, f"host={api.host}"))
    assert listed(api, "host=another") == []
    assert asking_as(api, MEMBER).ask("GET", SERVERS, query="host=another").status == 403


def test_all_projects_are_an_administrators(api: ApiRig) -> None:
    other = api.server(new_uuid())
    assert other in ids(listed(api, "all_tenants=True"))
    assert other not in ids(listed(api, "all_tenants=0"))
    assert asking_as(api, MEMBER).ask("GET", SERVERS, query="all_tenants=1").status == 403


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("marker=00000000-0000-4000-8000-00000000000f", "marker"),
        ("marker=x", "marker"),
        ("sort_key=name", "sort_key"),
        ("sort_dir=asc", "sort_dir"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("flavor=1", "flavor"),
        ("deleted=True", "deleted"),
        ("all_tenants=perhaps", "all_tenants"),
        ("colour=red", "colour"),
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(api: ApiRig, query: str, word: str) -> None:
    refused = api.ask("GET", SERVERS, query=query)
    assert refused.status == 400
    assert word in refused.message


def test_older_microversions_take_names_that_nobody_knows(api: ApiRig) -> None:
    assert api.ask("GET", SERVERS, version="2.74", query="colour=red").status == 200


def test_what_clients_say_without_meaning_it_is_taken(api: ApiRig) -> None:
    query = "deleted=False&changes-since=2026-01-01T00:00:00Z&sort_key=created_at&sort_dir=desc"
    assert api.ask("GET", SERVERS, query=query).status == 200


def test_a_build_without_a_row_is_a_server(api: ApiRig) -> None:
    with accepted_elsewhere(api, "coming") as server:
        found = shown(api, server)
        assert (found["status"], found["name"]) == ("BUILD", "coming")
        assert found["OS-EXT-STS:task_state"] == "building"
        assert found["OS-SRV-USG:launched_at"] is None
        assert ids(listed(api))[0] == server
        assert ids(listed(api, "status=BUILD")) == [server]
        assert server not in ids(listed(api, "status=ACTIVE"))
        assert server not in ids(listed(api, "name=others"))
        assert server not in ids(listed(asking_as(api, STRANGER)))
        assert asking_as(api, STRANGER).ask("GET", f"{SERVERS}/{server}").status == 404
        refused = api.ask("POST", f"{SERVERS}/{server}/action", {"os-stop": None})
        assert refused.status == 409
        assert "while it is in vm_state building; it can be done" in refused.message


def test_a_build_that_failed_says_why_until_it_is_deleted(api: ApiRig) -> None:
    server = failed_build(api)
    found = shown(api, server)
    assert found["status"] == "ERROR"
    assert "names another file" in found["fault"]["message"]
    assert found["fault"]["details"] == "image.refused"
    assert "details" not in shown(asking_as(api, READER), server)["fault"]
    assert asking_as(api, STRANGER).ask("GET", f"{SERVERS}/{server}").status == 404
    assert server not in ids(listed(api))

    deleted = api.ask("DELETE", f"{SERVERS}/{server}")
    assert deleted.status == 204
    api.end_of(deleted)
    assert api.ask("GET", f"{SERVERS}/{server}").status == 404


def test_a_server_in_error_says_what_failed_last(api: ApiRig) -> None:
    server = a_server(api)
    change(api, server, vm_state=VmState.ERROR)
    assert "fault" not in shown(api, server)

    del api.world.guests[InstanceId(server)]
    hard = {"reboot": {"type": "HARD"}}
    failed = api.ask("POST", f"{SERVERS}/{server}/action", hard)
    assert api.end_of(failed)["state"] == "failed"
    assert shown(api, server)["fault"]["details"] == "domain.not_found"
    assert ids(listed(api, "status=ERROR")) == [server]


def test_a_deleted_server_is_gone(api: ApiRig) -> None:
    server = a_server(api)
    deleted = api.ask("DELETE", f"{SERVERS}/{server}")
    assert (deleted.status, deleted.body) == (204, None)
    assert api.end_of(deleted)["state"] == "succeeded"
    assert api.ask("GET", f"{SERVERS}/{server}").status == 404
    assert api.ask("DELETE", f"{SERVERS}/{server}").status == 404


def test_a_released_server_is_not_deleted_here(api: ApiRig) -> None:
    server = a_server(api)
    change(api, server, task_state=TaskState.RELEASED)
    assert api.ask("DELETE", f"{SERVERS}/{server}").status == 409


def test_readers_change_nothing(api: ApiRig) -> None:
    server, reader = a_server(api), asking_as(api, READER)
    assert reader.ask("DELETE", f"{SERVERS}/{server}").status == 403
    assert reader.ask("PUT", f"{SERVERS}/{server}", {"server": {}}).status == 403
    assert reader.ask("POST", f"{SERVERS}/{server}/action", {"os-stop": None}).status == 403
    assert reader.ask("GET", f"{SERVERS}/{server}").status == 200


def test_an_update_that_changes_nothing_is_fine(api: ApiRig) -> None:
    server = a_server(api)
    name = shown(api, server)["name"]
    updated = api.ask("PUT", f"{SERVERS}/{server}", {"server": {"name": name}})
    assert updated.status == 200
    assert updated.body["server"]["name"] == name


@pytest.mark.parametrize("change_", [{"name": "other"}, {"description": "x"}, {"hostname": "x"}])
def test_an_update_that_would_change_something_is_refused(
    api: ApiRig, change_: dict[str, str]
) -> None:
    refused = api.ask("PUT", f"{SERVERS}/{a_server(api)}", {"server": change_})
    assert refused.status == 400
    assert "leave it as it is" in refused.message


def test_no_worker_no_delete(api: ApiRig) -> None:
    with accepted_elsewhere(api) as server:
        refused = api.ask("DELETE", f"{SERVERS}/{server}")
        assert refused.status == 503
        assert refused.headers["Retry-After"]


def test_the_lease_says_whether_a_host_is_up(api: ApiRig) -> None:
    server = a_server(api)
    later = api.services.clock() + timedelta(days=1)
    found = api.database.read(lambda each: each.execute(LEASES.select()).all())
    assert all(row.expires_at < later for row in found)
    assert shown(api, server, "2.16")["host_status"] == "UP"
    assert "host_status" not in shown(api, server, "2.15")
