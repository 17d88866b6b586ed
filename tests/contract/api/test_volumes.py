"""Volumes of the pool, as Cinder's clients ask for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.api_rig import ApiRig, Json, Response
from tests.contract.api.callers import MEMBER, READER, STRANGER, As, asking_as
from tests.contract.api.server_scenes import wanted as server_wanted
from tests.contract.api.test_attachments import attachments
from worker.api.application import Application, Front
from worker.api.front.open_door import PROJECT
from worker.api.routes import ROUTES
from worker.errors import BrokerUnavailable, NoAnswer, Unavailable
from worker.model.ids import VolumeId, new_uuid
from worker.model.volume import GIB, VolumeStatus
from worker.rpc.client import Client

V3 = {"OpenStack-API-Version": "volume 3.71"}
VOLUMES = "/v3/volumes"
# Fixed, as is all that names a test: two processes have to collect the same.
NO_VOLUME = "00000000-0000-4000-8000-00000000000f"


def with_services(api: ApiRig, **changed: Any) -> ApiRig:  # noqa: ANN401
    services = replace(api.services, **changed)
    front = Front(door=As(MEMBER))
    return replace(api, services=services, application=Application(ROUTES, services, front))


def create(api: ApiRig, **wanted: object) -> Response:
    return api.ask("POST", VOLUMES, {"volume": {"size": 1} | wanted}, headers=V3)


def shown(api: ApiRig, volume: str) -> Json:
    found: Json = api.ask("GET", f"{VOLUMES}/{volume}", headers=V3).body["volume"]
    return found


def listed(api: ApiRig, query: str = "", path: str = f"{VOLUMES}/detail") -> list[Json]:
    answer = api.ask("GET", path, headers=V3, query=query)
    assert answer.status == 200, answer.body
    found: list[Json] = answer.body["volumes"]
    return found


def ids(found: list[Json]) -> set[str]:
    return {one["id"] for one in found}


@contextmanager
def worker_stands_still(api: ApiRig) -> Iterator[None]:
    """Have the world answer nobody: what is accepted stays in the journal."""
    assert api.stalled.acquire(timeout=60)
    try:
        yield
    finally:
        api.stalled.release()


def test_a_volume_is_made_shown_made_larger_and_deleted(api: ApiRig) -> None:
    made = create(api, name="data")
    assert made.status == 202
    assert made.headers["OpenStack-API-Version"] == "volume 3.71"
    volume = made.body["volume"]
    assert (volume["name"], volume["size"], volume["status"]) == ("data", 1, "creating")
    assert api.end_of(made)["state"] == "succeeded"
    found = shown(api, volume["id"])
    assert (found["status"], found["attachments"]) == ("available", [])
    assert found["os-vol-tenant-attr:tenant_id"] == PROJECT

    action = f"{VOLUMES}/{volume['id']}/action"
    grown = api.ask("POST", action, {"os-extend": {"new_size": 3}}, headers=V3)
    assert grown.status == 202
    assert api.end_of(grown)["state"] == "succeeded"
    assert shown(api, volume["id"])["size"] == 3

    deleted = api.ask("DELETE", f"{VOLUMES}/{volume['id']}", headers=V3, query="cascade=False")
    assert deleted.status == 202
    assert api.end_of(deleted)["state"] == "succeeded"
    assert api.ask("GET", f"{VOLUMES}/{volume['id']}", headers=V3).status == 404
    assert volume["id"] not in ids(listed(api))


def test_a_volume_that_is_being_made_is_there_at_once(api: ApiRig) -> None:
    with worker_stands_still(api):
        made = create(api, name="soon", multiattach=True)
        volume = made.body["volume"]["id"]
        assert volume not in api.world.volumes
        found = shown(api, volume)
        assert (found["status"], found["name"], found["size"]) == ("creating", "soon", 1)
        assert found["multiattach"] is True
        assert ids(listed(api, "name=soon")) == {volume}
        others = asking_as(api, STRANGER)
        assert others.ask("GET", f"{VOLUMES}/{volume}", headers=V3).status == 404
        assert volume not in ids(listed(others))
    assert api.end_of(made)["state"] == "succeeded"
    assert shown(api, volume)["status"] == "available"


def test_a_volume_that_is_on_its_way_out_says_so(api: ApiRig) -> None:
    volume = api.volume()
    with worker_stands_still(api):
        deleted = api.ask("DELETE", f"{VOLUMES}/{volume}", headers=V3)
        assert deleted.status == 202
        assert shown(api, volume)["status"] == "deleting"
        again = api.ask("DELETE", f"{VOLUMES}/{volume}", headers=V3)
        assert again.status == 400
        assert "deleting" in again.message
    assert api.end_of(deleted)["state"] == "succeeded"


def test_a_volume_whose_making_failed_is_in_error_until_it_is_deleted(api: ApiRig) -> None:
    api.world.pool_room = 0
    try:
        made = create(api, name="no room")
        assert api.end_of(made)["state"] == "failed"
    finally:
        api.world.pool_room = 1 << 60
    volume = made.body["volume"]["id"]
    assert shown(api, volume)["status"] == "error"
    assert [one["status"] for one in listed(api, "name=no+room")] == ["error"]
    deleted = api.ask("DELETE", f"{VOLUMES}/{volume}", headers=V3)
    assert api.end_of(deleted)["state"] == "succeeded"
    assert api.ask("GET", f"{VOLUMES}/{volume}", headers=V3).status == 404
    assert listed(api, "name=no+room") == []


@pytest.mark.parametrize("lost", [NoAnswer, BrokerUnavailable])
def test_what_no_worker_has_answered_is_accepted_if_the_journal_has_it(
    api: ApiRig, lost: type[Unavailable]
) -> None:
    class Silent(Client):
        """Its answers get lost, its messages do not."""

        def call(self, host: str, method: str, **arguments: Any) -> Any:  # noqa: ANN401
            api.client.call(host, method, **arguments)
            raise lost("on its way")

    silent = object.__new__(Silent)
    made = create(with_services(api, workers=silent), name="heard")
    assert made.status == 202
    assert api.end_of(made)["state"] == "succeeded"


def test_without_a_living_worker_nothing_is_made(api: ApiRig) -> None:
    later = api.services.clock() + timedelta(days=1)
    answer = create(with_services(api, clock=lambda: later))
    assert answer.status == 503
    assert "blockworker serve" in answer.message
    assert answer.headers["Retry-After"]


def test_a_type_says_what_makes_a_volume_special(api: ApiRig) -> None:
    made = create(api, volume_type="encrypted-multiattach")
    assert api.end_of(made)["state"] == "succeeded"
    volume = api.world.volumes[made.body["volume"]["id"]]
    assert (volume.encrypted, volume.multiattach) == (True, True)
    assert shown(api, volume.id)["volume_type"] == "encrypted-multiattach"
    assert shown(api, api.volume())["volume_type"] == "__DEFAULT__"
    refused = create(api, volume_type="gold")
    assert refused.status == 404
    assert "encrypted" in refused.message


@pytest.mark.parametrize(
    "wanted",
    [
        {"description": "of mine"},
        {"metadata": {"a": "b"}},
        {"imageRef": "debian"},
        {"snapshot_id": new_uuid()},
        {"source_volid": new_uuid()},
        {"backup_id": new_uuid()},
    ],
)
def test_what_the_pool_cannot_do_is_refused_by_name(api: ApiRig, wanted: Json) -> None:
    answer = create(api, **wanted)
    (name,) = wanted
    assert answer.status == 400
    assert name in answer.message
    assert "leave it out" in answer.message


def test_what_clients_send_empty_is_taken(api: ApiRig) -> None:
    names = ("description", "metadata", "imageRef", "snapshot_id", "source_volid", "volume_type")
    empty = dict.fromkeys((*names, "consistencygroup_id", "availability_zone", "whatever"))
    assert create(api, **empty, name=None).status == 202


@pytest.mark.parametrize("size", [0, -1, 1 << 33, "a", None, 1.5])
def test_a_size_that_no_volume_has_is_refused(api: ApiRig, size: object) -> None:
    assert create(api, size=size).status == 400


def test_only_an_administrator_names_the_host(api: ApiRig) -> None:
    made = create(api, availability_zone=f"nova:{api.host}")
    assert made.status == 202
    assert create(asking_as(api, MEMBER), availability_zone=f"nova:{api.host}").status == 403
    assert create(api, availability_zone="nova:nowhere").status == 400
    assert create(api, availability_zone="mars").status == 400


def test_an_attached_volume_says_by_whom_and_stays(api: ApiRig) -> None:
    server, volume = api.server(), api.volume()
    body = {"volumeAttachment": {"volumeId": volume}}
    assert api.end_of(api.ask("POST", attachments(server), body))["state"] == "succeeded"
    row = api.ask("GET", attachments(server, volume)).body["volumeAttachment"]
    expected = {
        "id": volume,
        "volume_id": volume,
        "server_id": server,
        "attachment_id": row["attachment_id"],
        "device": "/dev/vda",
        "host_name": api.host,
        "attached_at": None,
    }
    assert shown(api, volume)["attachments"] == [expected]
    (found,) = [one for one in listed(api) if one["id"] == volume]
    assert (found["status"], found["attachments"]) == ("in-use", [expected])

    refused = api.ask("DELETE", f"{VOLUMES}/{volume}", headers=V3)
    assert refused.status == 400
    assert "detach it first" in refused.message
    assert "in-use" in shown(api, volume)["status"]


def test_what_is_not_attached_yet_is_no_attachment(api: ApiRig) -> None:
    server, volume = api.server(), api.volume()
    api.client.reserve_block_device_name(api.host, instance_uuid=server, volume_id=volume)
    assert shown(api, volume)["attachments"] == []


def test_a_volume_never_becomes_smaller(api: ApiRig) -> None:
    volume = api.volume()
    for size in (1, "1"):
        action = {"os-extend": {"new_size": size}}
        answer = api.ask("POST", f"{VOLUMES}/{volume}/action", action, headers=V3)
        assert answer.status == 400
        assert "1 GiB" in answer.message


def test_an_action_that_the_pool_does_not_know_is_refused_by_name(api: ApiRig) -> None:
    action = {"os-set_bootable": {"bootable": True}}
    answer = api.ask("POST", f"{VOLUMES}/{api.volume()}/action", action, headers=V3)
    assert answer.status == 400
    assert "os-set_bootable" in answer.message


def test_nothing_is_deleted_by_force(api: ApiRig) -> None:
    volume = api.volume()
    answer = api.ask("DELETE", f"{VOLUMES}/{volume}", headers=V3, query="force=True&cascade=False")
    assert answer.status == 400
    assert volume in api.world.volumes


def test_another_projects_volume_is_not_there(api: ApiRig) -> None:
    mine, operators = api.volume(), api.volume(project_id=None)
    theirs = asking_as(api, STRANGER)
    for volume in (mine, operators):
        path = f"{VOLUMES}/{volume}"
        action = {"os-extend": {"new_size": 9}}
        for answer in (
            theirs.ask("GET", path, headers=V3),
            theirs.ask("DELETE", path, headers=V3),
            theirs.ask("POST", f"{path}/action", action, headers=V3),
        ):
            assert answer.status == 404
            assert answer.message == f"Volume {volume} could not be found."
    seen = listed(theirs, "all_tenants=1")
    assert {one["os-vol-tenant-attr:tenant_id"] for one in seen} <= {STRANGER.project_id}
    assert theirs.ask("GET", f"{VOLUMES}/{new_uuid()}", headers=V3).status == 404
    assert theirs.ask("GET", f"{VOLUMES}/no-uuid", headers=V3).status == 404
    owner = asking_as(api, MEMBER)
    assert mine in ids(listed(owner))
    assert operators not in ids(listed(owner))
    assert owner.ask("GET", f"{VOLUMES}/{operators}", headers=V3).status == 404
    assert {mine, operators} <= ids(listed(api))


def test_an_administrator_sees_every_projects_volumes_when_asked_for(api: ApiRig) -> None:
    volume = api.volume(project_id=STRANGER.project_id)
    assert volume not in ids(listed(api))
    assert volume in ids(listed(api, "all_tenants=True"))
    only = listed(api, f"all_tenants=1&project_id={STRANGER.project_id}")
    assert {one["os-vol-tenant-attr:tenant_id"] for one in only} == {STRANGER.project_id}
    assert shown(api, volume)["id"] == volume


def test_who_may_only_read_makes_nothing(api: ApiRig) -> None:
    reader, volume = asking_as(api, READER), api.volume()
    path = f"{VOLUMES}/{volume}"
    assert shown(reader, volume)["id"] == volume
    assert create(reader).status == 403
    assert reader.ask("DELETE", path, headers=V3).status == 403
    action = {"os-extend": {"new_size": 9}}
    assert reader.ask("POST", f"{path}/action", action, headers=V3).status == 403


def test_another_projects_volume_cannot_be_attached(api: ApiRig) -> None:
    """Nor one that is an operator's, or that is nowhere: all three are the same to its caller."""
    owner, server = asking_as(api, MEMBER), api.server()
    nowhere = VolumeId(new_uuid())
    foreign = api.volume(project_id=STRANGER.project_id)
    for volume in (foreign, api.volume(project_id=None), nowhere):
        body = {"volumeAttachment": {"volumeId": volume}}
        answer = owner.ask("POST", attachments(server), body)
        assert answer.status == 404
        assert answer.message == f"Volume {volume} could not be found."
    assert owner.ask("GET", attachments(server)).body == {"volumeAttachments": []}
    assert api.world.volumes[foreign].status is VolumeStatus.AVAILABLE
    mine = {"volumeAttachment": {"volumeId": api.volume()}}
    assert owner.end_of(owner.ask("POST", attachments(server), mine))["state"] == "succeeded"


def test_no_server_is_built_with_another_projects_volume(api: ApiRig) -> None:
    """As one that is nowhere, in the words that Nova has for that."""
    foreign, nowhere = api.volume(project_id=STRANGER.project_id), new_uuid()
    for volume in (foreign, nowhere):
        disk = {"source_type": "volume", "uuid": volume, "boot_index": 0}
        body = server_wanted(api, imageRef="", block_device_mapping_v2=[disk])
        answer = asking_as(api, MEMBER).ask("POST", "/v2.1/servers", body)
        assert answer.status == 400
        assert answer.message == (
            f"Block Device Mapping is Invalid: failed to get volume {volume}."
        )


def test_lists_come_in_pages_newest_first(api: ApiRig) -> None:
    name = f"paged-{new_uuid()}"
    made = [create(api, name=name).body["volume"]["id"] for _ in range(3)]
    found: list[str] = []
    answer = api.ask("GET", VOLUMES, headers=V3, query=f"limit=2&name={name}")
    found += [one["id"] for one in answer.body["volumes"]]
    assert len(found) == 2
    (link,) = answer.body["volumes_links"]
    _, _, query = link["href"].partition("?")
    answer = api.ask("GET", VOLUMES, headers=V3, query=query)
    found += [one["id"] for one in answer.body["volumes"]]
    assert sorted(found) == sorted(made)
    assert "volumes_links" not in answer.body
    assert listed(api, "limit=0") == []
    refused = api.ask("GET", VOLUMES, headers=V3, query=f"marker={new_uuid()}")
    assert refused.status == 400
    assert "begin without one" in refused.message


def test_a_list_is_of_what_was_asked_for(api: ApiRig) -> None:
    name = f"one-{new_uuid()}"
    volume = api.volume(name=name)
    assert ids(listed(api, f"name={name}")) == {volume}
    assert ids(listed(api, f"name={name}", path=VOLUMES)) == {volume}
    assert listed(api, f"name={name}&status=in-use") == []
    assert listed(api, f"name={name[:-1]}") == []
    assert api.ask("GET", VOLUMES, headers=V3, query="color=red").status == 400


def test_a_part_of_a_gib_counts_as_one(api: ApiRig) -> None:
    volume = api.volume()
    api.world.volumes[volume] = replace(api.world.volumes[volume], size=GIB + 512)
    assert shown(api, volume)["size"] == 2


def test_versions_are_said_as_cinder_does(api: ApiRig) -> None:
    answer = api.ask("GET", "/v3")
    (version,) = answer.body["versions"]
    assert (version["min_version"], version["version"]) == ("3.0", "3.71")
    refused = api.ask("GET", VOLUMES, headers={"OpenStack-API-Version": "volume 3.99"})
    assert refused.status == 406
    with_project = api.ask("GET", f"/v3/{PROJECT}/volumes/detail", headers=V3)
    assert with_project.status == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v3", None),
        ("GET", VOLUMES, None),
        ("GET", f"{VOLUMES}/detail", None),
        ("GET", f"{VOLUMES}/{NO_VOLUME}", None),
        ("POST", VOLUMES, {"volume": {"size": 1}}),
        ("DELETE", f"{VOLUMES}/{NO_VOLUME}", None),
        ("POST", f"{VOLUMES}/{NO_VOLUME}/action", {"os-extend": {"new_size": 2}}),
    ],
)
def test_with_cinder_it_is_said_where_that_is(
    api: ApiRig, method: str, path: str, body: object
) -> None:
    away = with_services(api, pool=None, cinder="http://cinder.example:8776/v3")
    answer = away.ask(method, path, body, headers=V3)
    assert answer.status == 404
    assert "http://cinder.example:8776/v3" in answer.message
