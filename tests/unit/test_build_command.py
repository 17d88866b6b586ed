"""What ``instance build`` asks for, of options and a file."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.build_scenes import IMAGE, KERNEL, PORT
from tests.unit.scenes import INSTANCE, VOLUME
from worker.cmd.instance_build import wanted_by
from worker.cmd.main import parser
from worker.errors import RequestMalformed
from worker.handlers.build_instance import BuildInstance
from worker.rpc.reading import request_from


def wanted(*words: str) -> dict[str, Any]:
    given = ["instance", "build", *words]
    found = wanted_by(parser(given).parse_args(given))
    request_from(BuildInstance, found)
    return found


def test_options_become_arguments_of_the_bus() -> None:
    found = wanted(
        "web", "--uuid", INSTANCE, "--vcpus", "2", "--memory", "512", "--image", IMAGE,
        "--root", "4", "--ephemeral", "1", "--ephemeral", "2", "--swap", "64", "--config-drive",
        "--kernel", KERNEL, "--command-line", "quiet", "--firmware", "uefi", "--meta", "role=web",
        "--disk", f"volume_id={VOLUME},tag=data,delete_on_termination=true",
        "--disk", "size=1G,guest_format=ext4,boot_index=1", "--disk", f"image_id={IMAGE}",
        "--network", f"kind=tap,target=tap0,port_id={PORT}",
    )  # fmt: skip
    assert found == {
        "instance_uuid": INSTANCE,
        "name": "web",
        "vcpus": 2,
        "memory_mb": 512,
        "image_ref": IMAGE,
        "root_gb": 4,
        "ephemeral_gb": [1, 2],
        "swap_mb": 64,
        "config_drive": True,
        "kernel_id": KERNEL,
        "command_line": "quiet",
        "firmware": "uefi",
        "metadata": {"role": "web"},
        "block_devices": [
            {
                "source_type": "volume",
                "volume_id": VOLUME,
                "tag": "data",
                "delete_on_termination": True,
            },
            {"source_type": "blank", "size": 1 << 30, "guest_format": "ext4", "boot_index": 1},
            {"source_type": "image", "image_id": IMAGE},
        ],
        "networks": [{"kind": "tap", "target": "tap0", "port_id": PORT}],
    }


def test_a_file_gives_what_no_option_says(tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    file.write_text(json.dumps({"name": "web", "vcpus": 1, "memory_mb": 64, "image_ref": IMAGE}))
    found = wanted("--from", str(file), "--memory", "128")
    assert (found["name"], found["vcpus"], found["memory_mb"]) == ("web", 1, 128)
    assert "instance_uuid" in found


def test_a_uuid_in_the_file_is_the_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    text = {"instance_uuid": INSTANCE, "name": "web", "vcpus": 1, "memory_mb": 64}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(text)))
    assert wanted("--from", "-", "--image", IMAGE)["instance_uuid"] == INSTANCE


def test_an_interface_without_a_port_has_one_drawn() -> None:
    words = ("web", "--vcpus", "1", "--memory", "64", "--network", "kind=user")
    assert len(wanted(*words)["networks"][0]["port_id"]) == 36


@pytest.mark.parametrize(
    "words",
    [
        ("--disk", "volume_id"),
        ("--disk", "size=big"),
        ("--disk", "size=1G,boot_index=first"),
        ("--meta", "alone"),
        ("--from", "/nonexistent.json"),
        ("--from", "/dev/null"),
    ],
)
def test_what_is_malformed_is_said(words: tuple[str, ...]) -> None:
    with pytest.raises(RequestMalformed):
        wanted("web", "--vcpus", "1", "--memory", "64", *words)


def test_a_file_without_an_object_is_malformed(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text("[]")
    with pytest.raises(RequestMalformed, match="no JSON object"):
        wanted("--from", str(file))
