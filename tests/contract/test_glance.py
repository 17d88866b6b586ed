"""Glance beyond what every image service promises: who may ask, and what is not told."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.glance_server import PASSWORD, TOKEN, Glance, served
from tests.contract.image_labs import GlanceLab
from worker import conf
from worker.errors import ImageRefused, ImagesUnavailable
from worker.image.cache import CachedImages
from worker.model.ids import ImageId
from worker.wiring.images import make_images


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[GlanceLab]:
    with served() as glance:
        yield GlanceLab(tmp_path, glance)


def configured(glance: Glance, state: Path, **more: str) -> CachedImages:
    said = {"service": "glance", "glance_auth_url": f"{glance.url}/v3", **more}
    options: dict[str, Any] = {f"image__{name}": value for name, value in said.items()}
    return make_images(conf.load(state_path=str(state), **options), tuple)


BY_PASSWORD = {
    "glance_username": "worker",
    "glance_password": PASSWORD,
    "glance_project_name": "service",
    "glance_region_name": "one",
}


@pytest.mark.parametrize(
    "credentials",
    [BY_PASSWORD, {"glance_auth_type": "token", "glance_token": TOKEN}],
    ids=["password", "token"],
)
def test_an_image_is_fetched_by_way_of_keystone_and_no_secret_is_logged(
    lab: GlanceLab,
    tmp_path: Path,
    credentials: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    lab.glance.identity = True
    image = lab.give(b"disk" * 512)
    with caplog.at_level(logging.DEBUG):
        file = configured(lab.glance, tmp_path, **credentials).fetch(image)
    assert file.virtual_size == 2048
    assert caplog.records
    assert PASSWORD not in caplog.text
    assert TOKEN not in caplog.text


def test_a_wrong_password_is_an_outage_that_does_not_tell_it(
    lab: GlanceLab, tmp_path: Path
) -> None:
    lab.glance.identity = True
    image = lab.give(b"disk" * 512)
    wrong = {**BY_PASSWORD, "glance_password": "another-secret"}
    with pytest.raises(ImagesUnavailable) as told:
        configured(lab.glance, tmp_path, **wrong).show(image)
    assert "another-secret" not in str(told.value)


def test_a_cloud_of_clouds_yaml_says_it_all(
    lab: GlanceLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(
        f"clouds: {{ours: {{auth_type: none, auth: {{endpoint: '{lab.glance.url}'}},"
        f" image_endpoint_override: '{lab.glance.url}'}}}}"
    )
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    image = lab.give(b"disk" * 512)
    assert configured(lab.glance, tmp_path, glance_cloud="ours").show(image).size == 2048


def test_an_image_that_is_not_whole_yet_is_waited_for(lab: GlanceLab) -> None:
    image = lab.give(b"disk" * 512)
    lab.glance.images[image]["status"] = "saving"
    with pytest.raises(ImagesUnavailable, match="saving"):
        lab.images.show(image)


def test_an_image_that_glance_keeps_back_is_refused(lab: GlanceLab) -> None:
    image = lab.give(b"disk" * 512)
    lab.glance.images[image]["deactivated"] = "yes"
    with pytest.raises(ImageRefused, match=image):
        lab.images.fetch(image)


def test_without_a_newer_checksum_the_old_one_counts(lab: GlanceLab) -> None:
    image = lab.give(b"disk" * 512)
    for name in ("os_hash_algo", "os_hash_value"):
        lab.glance.images[image][name] = None
    shown = lab.images.show(image)
    assert shown.checksum is not None
    assert shown.checksum[0] == "md5"
    lab.spoil(image)
    with pytest.raises(ImageRefused, match="md5"):
        lab.images.fetch(image)


def test_a_checksum_of_a_kind_nobody_knows_is_refused(lab: GlanceLab) -> None:
    image = lab.give(b"disk" * 512)
    lab.glance.images[image]["os_hash_algo"] = "crc7"
    with pytest.raises(ImageRefused, match="crc7"):
        lab.images.fetch(image)


def test_nobody_at_the_address_is_an_outage(tmp_path: Path) -> None:
    with served() as glance:
        lab = GlanceLab(tmp_path, glance)
    with pytest.raises(ImagesUnavailable):
        lab.images.show(ImageId("3f1a6b0c-0000-4000-8000-000000000000"))


def test_a_download_that_stands_still_is_an_outage(lab: GlanceLab, tmp_path: Path) -> None:
    image = lab.give(b"disk" * 512)
    lab.glance.stalls = True
    impatient = configured(
        lab.glance,
        tmp_path,
        glance_auth_type="none",
        glance_endpoint=lab.glance.url,
        glance_timeout="1",
    )
    with pytest.raises(ImagesUnavailable):
        impatient.fetch(image)


def test_the_sdk_does_not_wait_on_its_own(lab: GlanceLab) -> None:
    """Operations do, and say so; what is asked once is heard once."""
    image = lab.give(b"disk" * 512)
    lab.images.show(image)
    lab.glance.heard.clear()
    lab.go_away()
    with pytest.raises(ImagesUnavailable):
        lab.images.show(image)
    assert lab.glance.heard == [f"GET /v2/images/{image}"]
