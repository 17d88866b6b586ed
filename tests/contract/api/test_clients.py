"""Nova's commands, unchanged: what they ask for, and that they understand the answers."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import CommandFailed
from tests.contract.api.client_site import NEWER, ROOT, Pair, Site, new_pair, site_of
from worker.model.ids import new_uuid

DOCS = Path(__file__).parents[3] / "docs"
ROW = re.compile(
    r"^\| `((?:flavor|image|server|volume) [^`]*)` \| (`(?:GET|POST|PUT|DELETE).*?) \|",
    re.MULTILINE,
)


@pytest.fixture(scope="module", params=["none", "token"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with site_of(tmp_path_factory.mktemp("clients"), request.param) as found:
        yield found


@pytest.fixture
def pair(site: Site) -> Pair:
    return new_pair(site)


def rows() -> list[tuple[str, list[str]]]:
    """Return each command of the document, and the requests that it says are made."""
    found = ROW.findall((DOCS / "api.md").read_text())
    return [(command, re.findall(r"`([^`]+)`", asks)) for command, asks in found]


def test_each_command_asks_for_what_the_document_says(site: Site) -> None:
    """One after the other, on one server and one volume: each is told of what came before."""
    table = rows()
    assert len(table) > 20
    site.known = {"NAME": f"name-{new_uuid()[:8]}"}
    asked = {}
    for command, _ in table:
        learn(site, command)
        site.asked()
        words = site.named(command).split()
        prints = re.match(r"(\w+ )+?(list|show|create)|server add volume", command)
        said = site.clients.openstack(*words, *(["-f", "json"] if prints else []), compute=NEWER)
        asked[command] = site.asked()
        learn_of(site, command, said)
        site.settle()
    said_of = {command: [site.named(each) for each in requests] for command, requests in table}
    assert asked == said_of


def learn(site: Site, command: str) -> None:
    """Look up what the command names and nothing before it has told."""
    if "REQUEST" in command:
        events = site.clients.asked("server", "event", "list", site.known["SERVER"])
        site.known["REQUEST"] = events[0]["Request ID"]


def learn_of(site: Site, command: str, said: Any) -> None:  # noqa: ANN401
    """Keep what the command has told of ids."""
    match command.split()[:2]:
        case ["flavor", "list"]:
            site.known["FLAVOR"] = said[0]["ID"]
        case ["image", "list"]:
            site.known["IMAGE"] = said[0]["ID"]
        case ["server", "create"]:
            site.known["SERVER"] = said["id"]
        case ["volume", "create"]:
            site.known["VOLUME"] = said["id"]


def test_the_nova_command_does_what_openstack_does(site: Site, pair: Pair) -> None:
    def nova(*words: str) -> str:
        said = site.clients.nova(*words, compute=NEWER)
        site.settle()
        return said

    assert "/dev/vda" in nova("volume-attach", pair.server, pair.volume)
    assert pair.volume in nova("volume-attachments", pair.server)
    assert pair.server in nova("list")
    assert pair.volume in nova("show", pair.server)
    assert "attach_volume" in nova("instance-action-list", pair.server)
    nova("stop", pair.server)
    assert "SHUTOFF" in nova("show", pair.server)
    nova("start", pair.server)
    nova("reboot", pair.server)
    nova("volume-detach", pair.server, pair.volume)
    assert pair.volume not in nova("volume-attachments", pair.server)
    nova("delete", pair.server)
    assert pair.server not in nova("list")


def test_the_nova_command_makes_and_rescues_a_server(site: Site) -> None:
    flavor, name = site.clients.asked("flavor", "list")[0]["ID"], f"name-{new_uuid()[:8]}"
    made = ("--flavor", flavor, "--image", ROOT, "--nic", "none", "--config-drive", "true", name)
    site.clients.nova("boot", *made, compute=NEWER)
    site.settle()
    assert "adminPass" in site.clients.nova("rescue", "--image", "root", name)
    site.settle()
    assert "RESCUE" in site.clients.nova("show", name)
    site.clients.nova("unrescue", name)
    site.settle()
    assert "ACTIVE" in site.clients.nova("show", name)


def test_names_are_as_good_as_ids(site: Site) -> None:
    openstack = site.clients
    flavor = openstack.asked("flavor", "list")[0]["Name"]
    words = ("server", "create", "--flavor", flavor, "--image", "root", "--nic", "none", "named")
    openstack.asked(*words, compute=NEWER)
    openstack.asked("volume", "create", "--size", "1", "disk")
    site.settle()
    assert openstack.asked("server", "add", "volume", "named", "disk")["Device"] == "/dev/vdb"
    site.settle()
    openstack.openstack("volume", "set", "--size", "2", "disk")
    site.settle()
    grown = openstack.asked("volume", "show", "disk")
    assert (grown["size"], grown["status"]) == (2, "in-use")
    assert openstack.asked("server", "show", "named", compute=NEWER)["image"].startswith("root (")
    (listed,) = openstack.asked("server", "list", "--name", "named", compute=NEWER)
    assert (listed["Status"], listed["Image"], listed["Flavor"]) == ("ACTIVE", "root", flavor)
    openstack.openstack("server", "rescue", "--image", "root", "named", compute="2.87")
    site.settle()
    assert openstack.asked("server", "show", "named")["status"] == "RESCUE"
    openstack.openstack("server", "unrescue", "named")
    site.settle()
    openstack.openstack("server", "remove", "volume", "named", "disk")
    site.settle()
    openstack.openstack("server", "delete", "--wait", "named")
    openstack.openstack("volume", "delete", "disk")
    site.settle()
    assert "disk" not in [each["Name"] for each in openstack.asked("volume", "list")]


def test_a_client_passes_on_why_it_was_refused(site: Site, pair: Pair) -> None:
    openstack = site.clients
    openstack.asked("server", "add", "volume", pair.server, pair.volume)
    site.settle()
    with pytest.raises(CommandFailed, match="already attached"):
        openstack.asked("server", "add", "volume", pair.server, pair.volume)
    with pytest.raises(CommandFailed, match="No Server found for nobody"):
        openstack.asked("server", "show", "nobody")
    with pytest.raises(CommandFailed, match="No Volume found for nothing"):
        openstack.asked("server", "add", "volume", pair.server, "nothing")
    # Of a volume in use `volume list` asks who has it: the other tests come in any order.
    openstack.openstack("server", "remove", "volume", pair.server, pair.volume)
    site.settle()
