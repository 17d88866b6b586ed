"""[image] is checked before anything is made, and loads only what it asks for."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit import rescue_scenes
from worker import conf
from worker.cmd.main import main
from worker.errors import Invalid
from worker.model.ids import BlockDeviceId, ImageId, InstanceId
from worker.model.instance import Instance, VmState
from worker.model.specification import LocalDisk, Specification
from worker.wiring.images import (
    cache_path,
    check_images,
    images_of,
    instances_path,
    make_config_drives,
    make_images,
    make_local_disks,
)


def an_instance(made_as: Specification | None) -> Instance:
    return Instance(
        uuid=InstanceId("instance"),
        host="host",
        name="guest",
        vm_state=VmState.ACTIVE,
        specification=made_as,
    )


def check(state: Path, **options: object) -> None:
    given: dict[str, Any] = {f"image__{name}": value for name, value in options.items()}
    check_images(conf.load(state_path=str(state), **given))


def test_the_defaults_are_fine_and_nothing_is_made(tmp_path: Path) -> None:
    check(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_by_default_everything_lies_in_the_state_folder(tmp_path: Path) -> None:
    loaded = conf.load(state_path=str(tmp_path))
    assert cache_path(loaded) == tmp_path / "image-cache"
    assert instances_path(loaded) == tmp_path / "instances"
    make_images(loaded, tuple)
    make_local_disks(loaded)
    make_config_drives(loaded)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    assert (tmp_path / "images").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_configured_is_not_made(tmp_path: Path) -> None:
    """It may be a mount that is missing; an empty one would hide that."""
    folder = tmp_path / "mounted"
    make_images(conf.load(state_path=str(tmp_path), image__folder=str(folder)), tuple)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["cache_path", "instances_path", "folder"])
def test_a_folder_must_be_one(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(Invalid, match=f"{name} = {file} is no folder"):
        check(tmp_path, **{name: str(file)})
    with pytest.raises(Invalid, match="no absolute path"):
        check(tmp_path, **{name: "a/relative/path"})


@pytest.mark.parametrize(
    ("inner", "outer"),
    [("cache_path", "folder"), ("folder", "instances_path"), ("instances_path", "cache_path")],
)
def test_folders_lie_apart(tmp_path: Path, inner: str, outer: str) -> None:
    for below in (".", "below"):
        with pytest.raises(Invalid, match="a folder of its own"):
            check(tmp_path, **{outer: f"{tmp_path}/here", inner: f"{tmp_path}/here/{below}"})


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("none", "glance_endpoint"),
        ("token", "glance_auth_url, glance_token"),
        ("password", "glance_auth_url, glance_username, glance_password, glance_project_name"),
    ],
)
def test_glance_needs_what_its_kind_of_login_needs(tmp_path: Path, kind: str, missing: str) -> None:
    with pytest.raises(Invalid, match=missing):
        check(tmp_path, service="glance", glance_auth_type=kind)
    with pytest.raises(Invalid, match=missing):
        make_images(
            conf.load(
                state_path=str(tmp_path), image__service="glance", image__glance_auth_type=kind
            ),
            tuple,
        )


def test_a_cloud_says_all_that_glance_needs(tmp_path: Path) -> None:
    check(tmp_path, service="glance", glance_cloud="ours")


def test_config_check_says_what_is_wrong_and_show_hides_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "conf"
    file.write_text(
        f"[DEFAULT]\nstate_path = {tmp_path}\n[image]\nservice = glance\n"
        "glance_password = planted\nglance_token = planted\n"
    )
    assert main(["config", "check", "--config-file", str(file)]) == 1
    assert "needs glance_auth_url, glance_username, glance_project_name" in capsys.readouterr().err
    assert main(["config", "show", "--config-file", str(file)]) == 0
    assert "planted" not in capsys.readouterr().out


def test_openstacksdk_is_loaded_for_glance_alone() -> None:
    script = "import sys; import worker.wiring.outside; print('openstack' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_copies_that_instances_or_their_disks_name_are_needed(tmp_path: Path) -> None:
    made_as = Specification(
        vcpus=1,
        memory=64,
        image=ImageId("root"),
        kernel=ImageId("kernel"),
        ramdisk=ImageId("ramdisk"),
        disks=(LocalDisk(uuid=BlockDeviceId("row"), size=512, image=ImageId("other")),),
    )
    instances = [an_instance(made_as), an_instance(None)]
    assert images_of(instances) == {"root", "kernel", "ramdisk", "other"}


def test_so_are_those_that_a_guest_was_rescued_by() -> None:
    world = rescue_scenes.rescued_from_volume()
    wanted = {rescue_scenes.KERNEL_IMAGE, rescue_scenes.KERNEL, rescue_scenes.RAMDISK}
    assert images_of(world.instances.values()) == wanted
