"""Servers, as Nova's clients ask for new ones."""

from dataclasses import replace
from typing import Any

import pytest

from tests.api_rig import ApiRig, Json
from tests.contract.api.callers import MEMBER, STRANGER, As, asking_as
from tests.contract.api.server_scenes import (
    SERVERS,
    a_server,
    accepted_elsewhere,
    act,
    ids,
    image,
    listed,
    made,
    not_answered,
    shown,
    wanted,
)
from worker.api.application import Application, Front
from worker.api.front.open_door import PROJECT
from worker.api.offers import Flavor, Network, Offers
from worker.api.routes import ROUTES
from worker.model.ids import InstanceId, VolumeId, new_uuid
from worker.model.specification import InterfaceKind
from worker.model.volume import VolumeStatus


def arguments(api: ApiRig, operation: str) -> Json:
    found: Json = api.client.get_operation(api.host, operation_id=operation)["arguments"]
    return found


def offering(api: ApiRig, **offers: Any) -> ApiRig:  # noqa: ANN401
    services = replace(api.services, offers=Offers(**offers))
    front = Front(door=As(MEMBER))
    return replace(api, services=services, application=Application(ROUTES, services, front))


def refused(api: ApiRig, version: str = "2.101", **more: Any) -> str:  # noqa: ANN401
    """Ask for a server that is refused, and return why; nothing was begun."""
    body = wanted(api, **more)
    answer = api.ask("POST", SERVERS, body, version=version)
    assert answer.status == 400, answer.body
    assert body["server"]["name"] not in {each["name"] for each in listed(api)}
    return answer.message


def test_the_answer_says_where_the_server_will_be(api: ApiRig) -> None:
    answer = made(api, security_groups=[{"name": "web"}])
    server = answer.body["server"]
    assert set(server) == {"id", "links", "OS-DCF:diskConfig", "security_groups"}
    assert server["security_groups"] == [{"name": "web"}]
    assert answer.headers["Location"].endswith(f"/v2.1/servers/{server['id']}")


def test_a_server_is_its_callers(api: ApiRig) -> None:
    server = a_server(asking_as(api, STRANGER))
    found = shown(api, server)
    assert (found["tenant_id"], found["user_id"]) == (STRANGER.project_id, "s")
    assert asking_as(api, MEMBER).ask("GET", f"{SERVERS}/{server}").status == 404


def test_a_flavor_decides_the_sizes(api: ApiRig) -> None:
    large = Flavor(
        id="x", name="x", vcpus=2, memory_mb=512, root_gb=3, ephemeral=1, swap=64, description="d"
    )
    rig = offering(api, flavors=[large])
    answer = made(rig, flavorRef="x")
    asked = arguments(api, answer.headers["X-Blockworker-Operation"])
    assert (asked["vcpus"], asked["memory_mb"], asked["root_gb"]) == (2, 512, 3)
    assert (asked["ephemeral_gb"], asked["swap_mb"]) == ([1], 64)
    flavor = shown(rig, answer.body["server"]["id"])["flavor"]
    assert (flavor["original_name"], flavor["ephemeral"], flavor["swap"]) == ("x", 1, 64)


def test_disks_of_the_caller_go_before_the_flavors(api: ApiRig) -> None:
    large = Flavor(id="x", name="x", vcpus=1, memory_mb=512, root_gb=3, ephemeral=9, swap=64)
    blank = {"source_type": "blank", "destination_type": "local"}
    disks = [blank | {"volume_size": 2}, blank | {"guest_format": "swap", "volume_size": 32}]
    answer = made(
        offering(api, flavors=[large]),
        flavorRef="x",
        block_device_mapping_v2=disks,
        imageRef=image(api),
    )
    asked = arguments(api, answer.headers["X-Blockworker-Operation"])
    assert [disk["size"] for disk in asked["block_devices"]] == [2 << 30, 32 << 20]
    assert (asked["ephemeral_gb"], asked["swap_mb"]) == ([], None)


def test_a_server_boots_from_a_volume(api: ApiRig) -> None:
    volume = api.volume()
    disks = [
        {"source_type": "volume", "uuid": volume, "boot_index": "0", "destination_type": "volume"},
        {"source_type": "volume", "uuid": api.volume(), "tag": "data", "boot_index": None},
    ]
    server = a_server(api, imageRef="", block_device_mapping_v2=disks)
    found = shown(api, server)
    assert found["image"] == ""
    assert len(found["os-extended-volumes:volumes_attached"]) == 2
    assert found["OS-EXT-SRV-ATTR:root_device_name"] == "/dev/vda"


def test_the_images_disk_may_be_named_a_second_time(api: ApiRig) -> None:
    source = image(api)
    root = {"source_type": "image", "uuid": source, "boot_index": 0, "destination_type": "local"}
    answer = made(api, imageRef=source, block_device_mapping_v2=[root | {"volume_size": 2}])
    asked = arguments(api, answer.headers["X-Blockworker-Operation"])
    assert (asked["root_gb"], asked["block_devices"][0]["size"]) == (None, 2 << 30)
    answer = made(api, imageRef=source, block_device_mapping_v2=[root])
    assert arguments(api, answer.headers["X-Blockworker-Operation"])["root_gb"] == 1


@pytest.mark.parametrize(
    ("network", "kinds"),
    [
        (None, []),
        (Network(kind=InterfaceKind.USER), [("user", None)]),
        (Network(kind=InterfaceKind.BRIDGE, target="br0"), [("bridge", "br0")]),
    ],
)
def test_auto_means_what_the_operator_says(
    api: ApiRig, network: Network | None, kinds: list[tuple[str, str | None]]
) -> None:
    rig = offering(api, network=network)
    for asked_for in ("auto", "none"):
        answer = made(rig, networks=asked_for)
        asked = arguments(api, answer.headers["X-Blockworker-Operation"])
        expected = kinds if asked_for == "auto" else []
        assert [(each["kind"], each["target"]) for each in asked["networks"]] == expected


def test_networks_may_be_left_out_before_237(api: ApiRig) -> None:
    body = wanted(api)
    del body["server"]["networks"]
    assert api.ask("POST", SERVERS, body, version="2.36").status == 202
    assert api.ask("POST", SERVERS, body, version="2.37").status == 400


@pytest.mark.parametrize(
    ("server", "word"),
    [
        ({"flavorRef": "no"}, "m1.tiny"),
        ({"imageRef": "no id"}, "list of images"),
        ({"imageRef": ""}, "boot_index 0"),
        ({"min_count": 2}, "min_count"),
        ({"max_count": "2"}, "max_count"),
        ({"name": "a/b"}, "name"),
        ({"name": ""}, "name"),
        ({"networks": [{"uuid": new_uuid()}]}, "attach-interface"),
        ({"networks": "some"}, "networks"),
        ({"key_name": "k"}, "key_name"),
        ({"user_data": "eA=="}, "user_data"),
        ({"adminPass": "p"}, "adminPass"),
        ({"tags": ["a"]}, "tags"),
        ({"description": "d"}, "description"),
        ({"hostname": "other"}, "hostname"),
        ({"accessIPv4": "10.0.0.1"}, "accessIPv4"),
        ({"return_reservation_id": True}, "return_reservation_id"),
        ({"block_device_mapping": [{"volume_id": new_uuid()}]}, "block_device_mapping_v2"),
        ({"trusted_image_certificates": [new_uuid()]}, "trusted_image_certificates"),
        ({"availability_zone": "mars"}, "nova"),
        ({"availability_zone": "nova:nowhere"}, "nowhere"),
        ({"host": "nowhere"}, "nowhere"),
        ({"host": "a", "hypervisor_hostname": "b"}, "one host"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_would_be_lost_is_refused(api: ApiRig, server: Json, word: str) -> None:
    assert word in refused(api, **server)


@pytest.mark.parametrize(
    ("disk", "word"),
    [
        ({"source_type": "volume", "uuid": new_uuid()}, "failed to get volume"),
        ({"source_type": "volume"}, "uuid"),
        ({"source_type": "volume", "uuid": "x", "destination_type": "local"}, "volume"),
        ({"source_type": "snapshot", "uuid": "x"}, "volume service"),
        ({"source_type": "blank", "destination_type": "volume"}, "volume service"),
        ({"source_type": "image", "uuid": "x", "destination_type": "volume"}, "volume service"),
        ({"source_type": "image", "uuid": new_uuid()}, "Can not find requested image"),
        ({"source_type": "blank"}, "volume_size"),
        ({"source_type": "blank", "volume_size": 1, "boot_index": 0}, "boot_index 0"),
        ({"source_type": "blank", "volume_size": 1, "device_type": "lun"}, "device_type"),
        ({"source_type": "blank", "volume_size": 1, "disk_bus": "bus"}, "bus"),
        ({"source_type": "blank", "volume_size": 1, "guest_format": "ntfs"}, "guest_format"),
        ({"volume_size": 1}, "source_type"),
    ],
)
def test_a_disk_that_cannot_be_is_refused(api: ApiRig, disk: Json, word: str) -> None:
    assert word in refused(api, imageRef=image(api), block_device_mapping_v2=[disk])


def test_hints_are_refused(api: ApiRig) -> None:
    body = wanted(api) | {"os:scheduler_hints": {"group": new_uuid()}}
    answer = api.ask("POST", SERVERS, body)
    assert (answer.status, "scheduler_hints" in answer.message) == (400, True)


def test_tags_of_disks_come_with_their_microversions(api: ApiRig) -> None:
    disk = {"source_type": "blank", "volume_size": 1, "tag": "data"}
    for version, status in (
        ("2.31", 400),
        ("2.32", 202),
        ("2.33", 400),
        ("2.41", 400),
        ("2.42", 202),
    ):
        body = wanted(api, imageRef=image(api), networks=[], block_device_mapping_v2=[disk])
        assert api.ask("POST", SERVERS, body, version=version).status == status, version


def test_a_volume_that_is_not_free_is_refused(api: ApiRig) -> None:
    volume = api.volume()
    api.world.volumes[volume] = replace(api.world.volumes[volume], status=VolumeStatus.IN_USE)
    disks = [{"source_type": "volume", "uuid": volume}]
    assert "in-use" in refused(api, imageRef=image(api), block_device_mapping_v2=disks)


def test_another_projects_volume_is_not_there(api: ApiRig) -> None:
    volumes: list[VolumeId] = [api.volume(project_id=new_uuid()), api.volume(project_id=None)]
    member = asking_as(api, MEMBER)
    for volume in volumes:
        disks = [{"source_type": "volume", "uuid": volume}]
        message = refused(member, imageRef=image(api), block_device_mapping_v2=disks)
        assert "failed to get volume" in message
    mine = [{"source_type": "volume", "uuid": api.volume(project_id=PROJECT)}]
    a_server(member, imageRef=image(api), block_device_mapping_v2=mine)


def test_administrators_name_a_host(api: ApiRig) -> None:
    for server in ({"availability_zone": f"nova:{api.host}"}, {"host": api.host}):
        assert shown(api, a_server(api, **server))["OS-EXT-SRV-ATTR:host"] == api.host
        member = asking_as(api, MEMBER)
        assert member.ask("POST", SERVERS, wanted(api, **server)).status == 403


def test_a_host_without_a_worker_gets_nothing(api: ApiRig) -> None:
    with accepted_elsewhere(api) as coming:
        dead = shown(api, coming)["OS-EXT-SRV-ATTR:host"]
        assert dead in refused(api, host=dead)
        assert shown(api, a_server(api))["OS-EXT-SRV-ATTR:host"] == api.host


def test_a_name_is_taken_once_a_host(api: ApiRig) -> None:
    body = wanted(api)
    a_server(api, **body["server"])
    again = api.ask("POST", SERVERS, body)
    assert again.status == 409
    assert "choose another name" in again.message


def test_on_which_host_a_name_is_taken_is_for_administrators(api: ApiRig) -> None:
    """Whose server it is that has the name, and where, is another project's affair."""
    body = wanted(api)
    a_server(asking_as(api, STRANGER), **body["server"])
    theirs, admins = (
        rig.ask("POST", SERVERS, body).message for rig in (asking_as(api, MEMBER), api)
    )
    assert (api.host in theirs, api.host in admins) == (False, True)


def test_an_answer_that_got_lost_is_looked_for_in_the_journal(api: ApiRig) -> None:
    rig, silent = not_answered(api, deaf=False)
    answer = rig.ask("POST", SERVERS, wanted(api))
    assert answer.status == 202
    assert api.end_of(answer)["state"] == "succeeded"
    assert silent.cast_since == []


def test_a_build_that_nobody_has_is_given_up_and_may_be_asked_again(api: ApiRig) -> None:
    rig, silent = not_answered(api, deaf=True)
    body = wanted(api)
    answer = rig.ask("POST", SERVERS, body)
    assert answer.status == 503
    assert answer.headers["Retry-After"]
    assert silent.cast_since == ["destroy_instance"]
    assert listed(api, f"name=^{body['server']['name']}$") == []
    assert api.ask("POST", SERVERS, body).status == 202


def test_a_build_that_comes_late_is_destroyed(api: ApiRig) -> None:
    """Whoever asked was told that nothing came of it."""
    rig, silent = not_answered(api, deaf=True)
    silent.late = True
    body = wanted(api)
    assert rig.ask("POST", SERVERS, body).status == 503
    (destroy,) = silent.cast_ids
    assert api.client.wait_for(api.host, destroy, every=0.01)["state"] == "succeeded"
    assert body["server"]["name"] not in {guest.name for guest in api.world.guests.values()}


def test_no_password_is_answered_that_opens_nothing(api: ApiRig) -> None:
    assert "adminPass" not in made(api).body["server"]


def test_a_server_of_a_flavor_goes_the_whole_way(api: ApiRig) -> None:
    member = asking_as(api, MEMBER)
    server = a_server(member)
    for action in ("os-stop", "os-start"):
        assert act(member, server, action).status == 202
    assert server in ids(listed(member))
    api.end_of(member.ask("DELETE", f"{SERVERS}/{server}"))
    assert InstanceId(server) not in api.world.guests
