"""What workers are asked for volumes, and which of them, and what is refused before."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from sqlalchemy import delete

from tests.api_rig import ApiRig, Json, Response
from tests.contract.api.callers import MEMBER, asking_as
from tests.contract.api.test_attachments import attachments
from tests.contract.api.test_volumes import (
    V3,
    VOLUMES,
    create,
    listed,
    shown,
    with_services,
    worker_stands_still,
)
from worker.errors import NoAnswer
from worker.model.ids import InstanceId, VolumeId, new_uuid
from worker.model.volume import GIB, VolumeStatus
from worker.persistence.fleet.pool import FleetPool, Holder, Pooled
from worker.persistence.schema import LEASES
from worker.rpc.client import Client


class Call(NamedTuple):
    host: str
    method: str
    arguments: Json


class Heard(Client):
    """Keeps what is called, and may have lost the answer; nothing goes out."""

    def __init__(self, *, lost: bool = False) -> None:
        self.calls: list[Call] = []
        self._lost = lost

    def call(self, host: str, method: str, **arguments: Any) -> Any:  # noqa: ANN401
        self.calls.append(Call(host, method, arguments))
        if self._lost:
            raise NoAnswer("lost")


def extend(api: ApiRig, volume: str, size: object) -> Response:
    body = {"os-extend": {"new_size": size}}
    return api.ask("POST", f"{VOLUMES}/{volume}/action", body, headers=V3)


def volume_in(api: ApiRig, status: VolumeStatus) -> VolumeId:
    volume = api.volume()
    api.world.volumes[volume] = replace(api.world.volumes[volume], status=status)
    return volume


def test_a_worker_is_told_all_that_was_asked_for(api: ApiRig) -> None:
    heard = Heard()
    now = api.services.clock()
    asked = with_services(api, workers=heard, clock=lambda: now)
    made = create(asked, size=2, name="n", volume_type="encrypted", multiattach=True)
    (call,) = heard.calls
    assert (call.host, call.method) == (api.host, "create_volume")
    latest = datetime.fromisoformat(call.arguments.pop("expires_at"))
    assert latest - now == timedelta(seconds=api.services.limits.accepting)
    assert call.arguments == {
        "request_id": made.headers["X-Openstack-Request-Id"],
        "operation_id": made.headers["X-Blockworker-Operation"],
        "volume_id": made.body["volume"]["id"],
        "size": 2 * GIB,
        "name": "n",
        "multiattach": True,
        "encrypted": True,
        "project_id": MEMBER.project_id,
    }


def test_sizes_are_gib_from_end_to_end(api: ApiRig) -> None:
    made = create(api, size="2")
    assert api.end_of(made)["state"] == "succeeded"
    volume = made.body["volume"]["id"]
    assert api.world.volumes[volume].size == 2 * GIB
    assert api.end_of(extend(api, volume, "3"))["state"] == "succeeded"
    assert api.world.volumes[volume].size == 3 * GIB
    refused = extend(api, volume, 2)
    assert refused.status == 400
    assert "3 GiB" in refused.message
    assert api.world.volumes[volume].size == 3 * GIB


@pytest.mark.parametrize(
    ("method", "ending", "body"),
    [("DELETE", "", None), ("POST", "/action", {"os-extend": {"new_size": 2}})],
)
def test_the_host_that_has_the_file_is_asked(
    api: ApiRig, method: str, ending: str, body: Json | None
) -> None:
    """Of an older release's the holder's, of one that nobody holds whichever lives."""
    volume = VolumeId(new_uuid())
    kept = replace(api.world.volumes[api.volume()], id=volume)
    holder = Holder(
        volume=volume,
        instance=InstanceId(new_uuid()),
        host="held",
        attachment=None,
        device_name="vda",
    )

    class Pool(FleetPool):
        def __init__(self, seen: Pooled, *holders: Holder) -> None:
            self.seen, self.has = seen, holders

        def find(self, volume: VolumeId) -> Pooled | None:
            return self.seen

        def holders(self, volumes: object) -> tuple[Holder, ...]:
            return self.has

    for pool, host in (
        (Pool(Pooled(volume=kept, host="filed"), holder), "filed"),
        (Pool(Pooled(volume=kept), holder), "held"),
        (Pool(Pooled(volume=kept)), api.host),
    ):
        heard = Heard()
        asked = with_services(api, workers=heard, pool=pool)
        answer = asked.ask(method, f"{VOLUMES}/{volume}{ending}", body, headers=V3)
        assert answer.status == 202, answer.body
        (call,) = heard.calls
        assert call.host == host
        assert call.arguments["request_id"] == answer.headers["X-Openstack-Request-Id"]
        assert call.arguments["operation_id"] == answer.headers["X-Blockworker-Operation"]


@pytest.fixture
def dead(api: ApiRig) -> Iterator[str]:
    """A host whose worker's lease has run out, and that comes first by its name."""
    before = api.services.clock() - timedelta(hours=1)
    row = {"host": "a-dead", "owner": "o", "state_folder": new_uuid(), "expires_at": before}
    api.database.write(lambda each: each.execute(LEASES.insert().values(row)))
    yield "a-dead"
    gone = delete(LEASES).where(LEASES.c.host == "a-dead")
    api.database.write(lambda each: each.execute(gone))


def test_no_host_whose_worker_is_dead_is_asked(api: ApiRig, dead: str) -> None:
    assert dead < api.host
    assert api.end_of(create(api))["state"] == "succeeded"
    refused = create(api, availability_zone=f"nova:{dead}")
    assert refused.status == 400
    assert api.host in refused.message


def test_the_host_that_an_administrator_names_is_asked(api: ApiRig, dead: str) -> None:
    heard = Heard()
    long_ago = api.services.clock() - timedelta(days=1)
    asked = replace(api, services=replace(api.services, workers=heard, clock=lambda: long_ago))
    asked = asking_as(asked, replace(MEMBER, roles=frozenset({"admin", "member", "reader"})))
    for host in (dead, api.host):
        assert create(asked, availability_zone=f"nova:{host}").status == 202
        assert heard.calls[-1].host == host


def test_what_no_journal_has_is_not_accepted(api: ApiRig) -> None:
    heard = Heard(lost=True)
    answer = create(with_services(api, workers=heard), name="unheard")
    assert answer.status == 503
    assert answer.headers["Retry-After"]
    assert len(heard.calls) == 1
    assert listed(api, "name=unheard") == []


@pytest.mark.parametrize(
    ("said", "status"), [("1", 400), ("true", 400), ("TRUE", 400), ("0", 202), ("False", 202)]
)
def test_force_is_what_cinder_takes_for_true(api: ApiRig, said: str, status: int) -> None:
    volume = api.volume()
    answer = api.ask("DELETE", f"{VOLUMES}/{volume}", headers=V3, query=f"force={said}")
    assert answer.status == status


def test_what_is_being_made_is_neither_made_larger_nor_deleted(api: ApiRig) -> None:
    with worker_stands_still(api):
        made = create(api, volume_type="encrypted", size=2)
        volume = made.body["volume"]["id"]
        for answer in (
            extend(api, volume, 9),
            api.ask("DELETE", f"{VOLUMES}/{volume}", headers=V3),
        ):
            assert answer.status == 400
            assert "creating" in answer.message
        assert shown(api, volume)["encrypted"] is True
        assert shown(api, volume)["size"] == 2
    assert api.end_of(made)["state"] == "succeeded"


def test_what_is_in_error_is_not_made_larger(api: ApiRig) -> None:
    volume = volume_in(api, VolumeStatus.ERROR)
    answer = extend(api, volume, 9)
    assert answer.status == 400
    assert "must be available" in answer.message


def test_one_in_use_is_not_made_larger_and_it_is_said_how_else(api: ApiRig) -> None:
    volume = volume_in(api, VolumeStatus.IN_USE)
    heard = Heard()
    answer = extend(with_services(api, workers=heard), volume, 9)
    assert answer.status == 400
    assert "blockworker volume extend" in answer.message
    assert heard.calls == []


@pytest.mark.parametrize("name", ["consistencygroup_id", "group_id"])
def test_groups_are_refused_by_name(api: ApiRig, name: str) -> None:
    answer = create(api, **{name: new_uuid()})
    assert answer.status == 400
    assert name in answer.message


def test_hosts_are_shown_to_administrators_alone(api: ApiRig) -> None:
    owner = asking_as(api, MEMBER)
    with worker_stands_still(api):
        coming = create(api).body["volume"]["id"]
        assert shown(api, coming)["os-vol-host-attr:host"] == api.host
        assert "os-vol-host-attr:host" not in shown(owner, coming)
    volume, server = api.volume(), api.server()
    body = {"volumeAttachment": {"volumeId": volume}}
    assert api.end_of(api.ask("POST", attachments(server), body))["state"] == "succeeded"
    assert shown(api, volume)["attachments"][0]["host_name"] == api.host
    assert "host_name" not in shown(owner, volume)["attachments"][0]


def test_times_are_cinders(api: ApiRig) -> None:
    """Without a zone: UTC is meant."""
    with worker_stands_still(api):
        made = create(api)
        created = datetime.fromisoformat(shown(api, made.body["volume"]["id"])["created_at"])
    assert created.tzinfo is None
    age = api.services.clock().replace(tzinfo=None) - created
    assert timedelta(0) <= age < timedelta(hours=1)


def test_pages_are_as_long_as_the_operator_allows(api: ApiRig) -> None:
    name = f"many-{new_uuid()}"
    made = {api.volume(name=name) for _ in range(3)}
    short = with_services(api, limits=replace(api.services.limits, page=2))
    for path in (VOLUMES, f"{VOLUMES}/detail"):
        for query in (f"name={name}", f"name={name}&limit=9", f"name={name}&limit=1"):
            pages: list[list[str]] = []
            asked = query
            while asked:
                answer = short.ask("GET", path, headers=V3, query=asked)
                pages.append([one["id"] for one in answer.body["volumes"]])
                (link,) = answer.body.get("volumes_links", [{"href": ""}])
                at, _, asked = link["href"].partition("?")
                base = answer.body["volumes"][0]["links"][0]["href"].partition("/v3/")[0]
                assert not asked or (link["rel"], at) == ("next", f"{base}{path}")
            assert [len(page) for page in pages] == ([1, 1, 1] if "limit=1" in query else [2, 1])
            found = [one for page in pages for one in page]
            assert set(found) == made
    assert api.ask("GET", VOLUMES, headers=V3, query="limit=0").body == {"volumes": []}


def test_the_newest_volume_is_the_first(api: ApiRig) -> None:
    name = f"aged-{new_uuid()}"
    with worker_stands_still(api):
        made = [create(api, name=name).body["volume"]["id"] for _ in range(3)]
        found = [one["id"] for one in listed(api, f"name={name}")]
    assert found == list(reversed(made))


def test_what_is_made_over_the_bus_for_a_project_is_its_own(api: ApiRig) -> None:
    """As by `blockworker volume create --project`."""
    volume = VolumeId(new_uuid())
    operation = api.client.create_volume(
        api.host, volume_id=volume, size=GIB, project_id=MEMBER.project_id
    )
    assert api.client.wait_for(api.host, operation, every=0.01)["state"] == "succeeded"
    assert shown(asking_as(api, MEMBER), volume)["id"] == volume
    others = VolumeId(new_uuid())
    operation = api.client.create_volume(api.host, volume_id=others, size=GIB)
    assert api.client.wait_for(api.host, operation, every=0.01)["state"] == "succeeded"
    answer = asking_as(api, MEMBER).ask("GET", f"{VOLUMES}/{others}", headers=V3)
    assert answer.status == 404


def test_each_volume_of_a_list_has_its_own_attachments(api: ApiRig) -> None:
    name = f"held-{new_uuid()}"
    held = {api.volume(name=name): api.server() for _ in range(2)}
    for volume, server in held.items():
        body = {"volumeAttachment": {"volumeId": volume}}
        assert api.end_of(api.ask("POST", attachments(server), body))["state"] == "succeeded"
    found = listed(api, f"name={name}")
    assert {one["id"]: [each["server_id"] for each in one["attachments"]] for one in found} == {
        volume: [server] for volume, server in held.items()
    }
