"""openstacksdk and python-novaclient, unchanged: what they find in the answers."""

from collections.abc import Iterator
from typing import Any

import pytest
from openstack.exceptions import ConflictException

from tests.contract.api.client_site import NEWER, Pair, Site, new_pair, site_of

Json = dict[str, Any]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_of(tmp_path_factory.mktemp("clients"), "token") as found:
        yield found


@pytest.fixture
def pair(site: Site) -> Pair:
    return new_pair(site)


ALWAYS = frozenset({"device", "serverId", "volumeId"})
FIELDS = {
    "2.1": ALWAYS | {"id"},
    "2.49": ALWAYS | {"id"},
    "2.70": ALWAYS | {"id", "tag"},
    "2.79": ALWAYS | {"id", "tag", "delete_on_termination"},
    "2.85": ALWAYS | {"id", "tag", "delete_on_termination"},
    "2.89": ALWAYS | {"tag", "delete_on_termination", "attachment_id", "bdm_uuid"},
    NEWER: ALWAYS | {"tag", "delete_on_termination", "attachment_id", "bdm_uuid"},
}
"""What stands in the answers about a volume of a server, by microversion."""


@pytest.mark.parametrize("version", ["2.1", "2.70", "2.89", "2.101"])
def test_the_sdk_finds_in_each_answer_what_its_microversion_has(
    site: Site, pair: Pair, version: str
) -> None:
    with site.clients.sdk(version) as connection:
        compute = connection.compute
        made = compute.create_volume_attachment(pair.server, pair.volume)
        site.settle()
        assert made.volume_id == pair.volume
        assert made.device == (None if version == "2.101" else "/dev/vda")
        (listed,) = compute.volume_attachments(pair.server)
        shown = compute.get_volume_attachment(pair.server, pair.volume)
        newer = version in {"2.89", "2.101"}
        assert (listed.bdm_id is not None, listed.attachment_id is not None) == (newer, newer)
        assert (listed.volume_id, listed.device) == (pair.volume, "/dev/vda")
        assert (shown.bdm_id, shown.attachment_id) == (listed.bdm_id, listed.attachment_id)
        compute.delete_volume_attachment(pair.server, pair.volume, ignore_missing=False)
        site.settle()
        assert list(compute.volume_attachments(pair.server)) == []


def test_the_sdk_speaks_of_a_volume_in_the_newest_words_that_it_knows(
    site: Site, pair: Pair
) -> None:
    with site.clients.sdk() as connection:
        connection.compute.create_volume_attachment(
            pair.server, pair.volume, tag="data", delete_on_termination=True
        )
        assert site.heard.heard[-1].version == "2.89"
        site.settle()
        (listed,) = connection.compute.volume_attachments(pair.server)
        assert (listed.tag, listed.delete_on_termination) == ("data", True)
        connection.compute.update_volume_attachment(
            pair.server, pair.volume, delete_on_termination=False
        )
        site.settle()
        shown = connection.compute.get_volume_attachment(pair.server, pair.volume)
        assert shown.delete_on_termination is False


def test_the_sdk_rescues_a_server_and_is_told_when_it_may_not(site: Site, pair: Pair) -> None:
    with site.clients.sdk() as connection:
        compute, (image,) = connection.compute, connection.image.images()
        made = compute.create_server(
            name="patient",
            flavor_id=next(iter(compute.flavors())).id,
            image_id=image.id,
            networks="none",
            config_drive=True,
        )
        site.settle()
        compute.rescue_server(made.id, admin_pass="secret", image=image.id)
        site.settle()
        assert compute.get_server(made.id).status == "RESCUE"
        with pytest.raises(ConflictException, match="rescue"):
            compute.rescue_server(made.id)
        compute.unrescue_server(made.id)
        site.settle()
        assert compute.get_server(made.id).status == "ACTIVE"
        actions = [each.action for each in compute.server_actions(made.id)]
        assert actions == ["unrescue", "rescue", "create"]
        compute.delete_server(made.id)
        site.settle()
        assert compute.find_server(made.id, ignore_missing=True) is None


def test_the_sdk_finds_every_server_page_by_page(site: Site) -> None:
    made = {site.rig.server() for _ in range(3)}
    with site.clients.sdk() as connection:
        found = [each.id for each in connection.compute.servers(limit=1)]
    assert made <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("version", FIELDS)
def test_novaclient_attaches_lists_shows_and_detaches(site: Site, pair: Pair, version: str) -> None:
    nova = site.clients.novaclient(version)
    made = nova.volumes.create_server_volume(pair.server, pair.volume)
    assert (made.volumeId, made.device) == (pair.volume, "/dev/vda")
    site.settle()
    (listed,) = nova.volumes.get_server_volumes(pair.server)
    shown = nova.volumes.get_server_volume(pair.server, pair.volume)
    assert listed.to_dict() == shown.to_dict()
    assert set(listed.to_dict()) == FIELDS[version]
    # The answer to the request itself has never lost its id.
    assert set(made.to_dict()) == (FIELDS[version] | {"id"}) - {"attachment_id", "bdm_uuid"}
    assert [each.id for each in nova.servers.list(search_opts={"all_tenants": 1})]
    (attached,) = attached_volumes(nova.servers.get(pair.server))
    assert attached["id"] == pair.volume
    nova.volumes.delete_server_volume(pair.server, pair.volume)
    site.settle()
    assert nova.volumes.get_server_volumes(pair.server) == []


def attached_volumes(server: Any) -> list[Json]:  # noqa: ANN401 - novaclient has no types
    found: list[Json] = server.to_dict()["os-extended-volumes:volumes_attached"]
    return found


def test_novaclient_swaps_a_volume_and_says_what_becomes_of_it(site: Site, pair: Pair) -> None:
    other = site.clients.asked("volume", "create", "--size", "1", "other")["id"]
    nova = site.clients.novaclient(NEWER)
    nova.volumes.create_server_volume(pair.server, pair.volume)
    site.settle()
    nova.volumes.update_server_volume(
        pair.server, pair.volume, pair.volume, delete_on_termination=True
    )
    site.settle()
    shown = nova.volumes.get_server_volume(pair.server, pair.volume)
    assert shown.delete_on_termination is True
    site.clients.nova("volume-update", pair.server, pair.volume, other)
    site.settle()
    (swapped,) = nova.volumes.get_server_volumes(pair.server)
    assert swapped.volumeId == other
