"""Lists of images as clients narrow them, and what an operator reads of what is left out."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.api_rig import ApiRig
from tests.contract.api.test_images import IMAGES, listed, on, put
from worker import conf as options
from worker.errors import ImageNotFound, ImagesUnavailable
from worker.image.folder import FolderImages
from worker.image.listing import FolderListing
from worker.model.ids import ImageId
from worker.model.image import Image
from worker.wiring.storage import where_cinder_is, where_glance_is


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "images"
    place.mkdir()
    return place


@pytest.fixture
def images(api: ApiRig, folder: Path) -> ApiRig:
    """An API over a real folder."""
    return on(api, replace(api.services, images=FolderListing(folder)))


def names(api: ApiRig, **query: str) -> list[str]:
    return [one["id"] for one in listed(api, **query)]


def test_properties_are_beside_the_fields_and_never_in_their_place(
    images: ApiRig, folder: Path
) -> None:
    said = {"hw_disk_bus": "scsi", "visibility": "private", "os_hidden": "true", "id": "other"}
    put(folder, "a", properties=said, os_hash_algo="sha256", os_hash_value="ab")
    (found,) = listed(images)
    assert (found["id"], found["hw_disk_bus"]) == ("a", "scsi")
    assert (found["visibility"], found["os_hidden"]) == ("public", False)
    assert (found["os_hash_algo"], found["os_hash_value"]) == ("sha256", "ab")


def test_hidden_images_are_asked_for_by_name(images: ApiRig, folder: Path) -> None:
    """There are none; whoever asks for those alone is given none, in whatever case."""
    put(folder, "a")
    assert names(images) == names(images, os_hidden="False") == ["a"]
    assert names(images, os_hidden="true") == []
    assert names(images, protected="FALSE") == ["a"]
    assert names(images, protected="true") == []


def test_one_of_several_is_enough(images: ApiRig, folder: Path) -> None:
    put(folder, "a", name="one, or more")
    put(folder, "b", name="in")
    put(folder, "c", name="three")
    assert names(images, name='in:"in","three"') == ["b", "c"]
    assert names(images, name="in:none") == []
    assert names(images, name="in") == ["b"]
    assert names(images, name="in:in", id="c") == []
    assert names(images, no_such_property="x") == []


def test_how_a_list_is_to_be_sorted_is_no_filter(images: ApiRig, folder: Path) -> None:
    put(folder, "a", name="z")
    put(folder, "b", name="y")
    assert names(images, sort="name:asc", sort_key="name", sort_dir="asc") == ["b", "a"]


def test_pages_are_as_long_as_the_operator_allows_and_keep_what_was_asked_for(
    images: ApiRig, folder: Path
) -> None:
    for image in "abcde":
        put(folder, image, name="odd" if image in "ace" else "other")
    short = on(images, replace(images.services, limits=replace(images.services.limits, page=2)))
    for limit in ("", "limit=9&"):
        first = short.ask("GET", IMAGES, query=f"{limit}name=odd").body
        assert [one["id"] for one in first["images"]] == ["a", "c"]
        _, _, query = first["next"].partition("?")
        assert first["next"].startswith(f"{IMAGES}?")
        last = short.ask("GET", IMAGES, query=query).body
        assert [one["id"] for one in last["images"]] == ["e"]
        assert "next" not in last
    none = short.ask("GET", IMAGES, query="limit=0").body
    assert none["images"] == []
    assert "next" not in none


def test_one_that_cannot_be_read_hides_no_other(
    images: ApiRig, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor one that was taken away since the folder was looked through."""
    for image in ("bad", "gone", "good"):
        put(folder, image)
    trouble = {"bad": ImagesUnavailable("bad: Input/output error"), "gone": ImageNotFound("gone")}
    real = FolderImages.show

    def show(self: FolderImages, image: ImageId) -> Image:
        if image in trouble:
            raise trouble[image]
        return real(self, image)

    monkeypatch.setattr(FolderImages, "show", show)
    assert names(images) == ["good"]
    assert "image left out: image=bad why=bad: Input/output error" in caplog.text
    assert "image=gone" not in caplog.text


def test_what_the_caller_is_not_told_the_log_says(
    images: ApiRig, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    put(folder, "broken", disk_format=7)
    answer = images.ask("GET", f"{IMAGES}/broken")
    assert answer.message == "No image found with ID broken"
    assert "image not shown: image=broken why=" in caplog.text
    (folder / "broken").unlink()
    (folder / "broken.json").unlink()
    folder.rmdir()
    folder.write_text("a file, where a folder should be")
    for path in (IMAGES, f"{IMAGES}/broken"):
        caplog.clear()
        answer = images.ask("GET", path)
        assert answer.status == 503
        assert answer.headers["Retry-After"]
        expected = "the folder of images cannot be read now; the API's log says why"
        assert answer.message == expected
        assert f"images cannot be read: why={folder}, the folder of images," in caplog.text


@pytest.mark.parametrize(
    ("where", "endpoint", "identity"),
    [
        (where_cinder_is, "cinder__endpoint", "cinder__auth_url"),
        (where_glance_is, "image__glance_endpoint", "image__glance_auth_url"),
    ],
)
def test_who_looks_here_for_anothers_is_told_where_that_is(
    tmp_path: Path, where: object, endpoint: str, identity: str
) -> None:
    assert callable(where)
    given: dict[str, Any] = {endpoint: "http://there.example", identity: "http://keystone.example"}
    assert where(options.load(state_path=str(tmp_path), **given)) == "http://there.example"
    del given[endpoint]
    said = where(options.load(state_path=str(tmp_path), **given))
    assert "the catalogue of http://keystone.example" in said
    assert where(options.load(state_path=str(tmp_path))) is None
