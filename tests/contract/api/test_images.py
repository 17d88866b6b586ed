"""Images of the folder, as Glance's clients ask for them."""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.api_rig import ApiRig, Json
from worker import conf as options
from worker.api.application import Application
from worker.api.routes import ROUTES
from worker.api.services import Services
from worker.image.listing import FolderListing
from worker.wiring.api import make_front
from worker.wiring.storage import make_image_listing

IMAGES = "/v2/images"


def on(api: ApiRig, services: Services) -> ApiRig:
    front = make_front(api.conf)
    return replace(api, services=services, application=Application(ROUTES, services, front))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def images(api: ApiRig, folder: Path) -> ApiRig:
    """An API over a real folder."""
    return on(api, replace(api.services, images=FolderListing(folder)))


def put(folder: Path, image: str, content: bytes = b"x" * 512, **said: object) -> None:
    (folder / image).write_bytes(content)
    (folder / f"{image}.json").write_text(json.dumps({"disk_format": "raw"} | said))


def listed(api: ApiRig, **query: str) -> list[Json]:
    answer = api.ask("GET", IMAGES, query=urlencode(query))
    assert answer.status == 200, answer.body
    found: list[Json] = answer.body["images"]
    return found


def test_an_image_is_listed_and_shown(images: ApiRig, folder: Path) -> None:
    put(
        folder,
        "debian-12",
        name="Debian 12",
        min_disk=2,
        min_ram=256,
        os_hash_algo="sha256",
        os_hash_value="ab",
        properties={"hw_disk_bus": "scsi", "status": "sold"},
    )
    (found,) = listed(images)
    assert found == images.ask("GET", f"{IMAGES}/debian-12").body
    assert (found["id"], found["name"], found["status"]) == ("debian-12", "Debian 12", "active")
    assert (found["disk_format"], found["size"], found["visibility"]) == ("raw", 512, "public")
    assert (found["min_disk"], found["min_ram"], found["hw_disk_bus"]) == (2, 256, "scsi")
    assert found["created_at"] == found["updated_at"]
    assert found["updated_at"].endswith("Z")


def test_where_a_file_is_is_never_said(images: ApiRig, folder: Path) -> None:
    put(folder, "good")
    put(folder, "bad", disk_format=7)
    (folder / "linked.json").symlink_to(folder / "good.json")
    for path in (IMAGES, *(f"{IMAGES}/{name}" for name in ("good", "bad", "linked", "none"))):
        answer = images.ask("GET", path)
        assert str(folder) not in json.dumps(answer.body)
        assert answer.status == (200 if path in (IMAGES, f"{IMAGES}/good") else 404)


def test_an_image_of_which_something_is_wrong_is_left_out_and_logged(
    images: ApiRig, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, "good")
    put(folder, "typo", disk_fromat="raw")
    (folder / "torn").write_bytes(b"x")
    (folder / "torn.json").write_text("{")
    (folder / "lonely.json").write_text('{"disk_format": "raw"}')
    (folder / "unsaid").write_bytes(b"x")
    (folder / ".hidden.json").write_text("{}")
    put(folder, "linked")
    (folder / "linked").unlink()
    (folder / "linked").symlink_to(folder / "good")
    assert [one["id"] for one in listed(images)] == ["good"]
    for name in ("typo", "torn", "linked"):
        assert f"image left out: image={name}" in caplog.text


def test_filters_are_those_that_clients_send(images: ApiRig, folder: Path) -> None:
    put(folder, "a", name="one", properties={"os_distro": "debian"})
    put(folder, "b", name="two")
    put(folder, "c", name="two")
    assert [one["id"] for one in listed(images, name="two")] == ["b", "c"]
    assert [one["id"] for one in listed(images, id="in:a,c")] == ["a", "c"]
    assert [one["id"] for one in listed(images, os_distro="debian")] == ["a"]
    assert listed(images, os_hidden="True") == []
    assert len(listed(images, os_hidden="false", status="active", visibility="public")) == 3
    assert listed(images, owner="somebody") == []


def test_lists_come_in_pages(images: ApiRig, folder: Path) -> None:
    for number in range(30):
        put(folder, f"i{number:02}")
    answer = images.ask("GET", IMAGES)
    assert len(answer.body["images"]) == 25
    _, _, query = answer.body["next"].partition("?")
    rest = images.ask("GET", IMAGES, query=query).body
    assert [one["id"] for one in rest["images"]] == ["i25", "i26", "i27", "i28", "i29"]
    assert "next" not in rest
    assert [one["id"] for one in listed(images, limit="1", marker="i03")] == ["i04"]
    assert images.ask("GET", IMAGES, query="marker=none").status == 400
    assert images.ask("GET", IMAGES, query="limit=x").status == 400


def test_a_folder_that_is_away_is_said_to_be(images: ApiRig, folder: Path) -> None:
    folder.rmdir()
    for path in (IMAGES, f"{IMAGES}/a"):
        answer = images.ask("GET", path)
        assert answer.status == 503
        assert answer.headers["Retry-After"]
        assert str(folder) not in answer.message


@pytest.mark.parametrize("path", ["/v2", "/versions"])
def test_the_version_is_said_as_glance_does(images: ApiRig, path: str) -> None:
    (version,) = images.ask("GET", path).body["versions"]
    assert version["id"].startswith("v2.")
    assert version["links"][0]["href"].endswith("/v2/")


@pytest.mark.parametrize("path", ["/v2", "/versions", IMAGES, f"{IMAGES}/a"])
def test_with_glance_it_is_said_where_that_is(api: ApiRig, path: str) -> None:
    away = on(api, replace(api.services, images=None, glance="http://glance.example:9292"))
    answer = away.ask("GET", path)
    assert answer.status == 404
    assert "http://glance.example:9292" in answer.message


def test_the_configured_folder_is_the_one_that_is_listed(api: ApiRig, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    put(folder, "here")
    conf = options.load(state_path=str(tmp_path), image__folder=str(folder))
    rig = on(api, replace(api.services, images=make_image_listing(conf)))
    assert [one["id"] for one in listed(rig)] == ["here"]
    default = options.load(state_path=str(tmp_path / "fresh"))
    assert listed(on(api, replace(api.services, images=make_image_listing(default)))) == []
    assert (
        make_image_listing(options.load(state_path=str(tmp_path), image__service="glance")) is None
    )
