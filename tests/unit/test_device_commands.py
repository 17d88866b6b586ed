"""What the commands about the devices of an instance ask for."""

from typing import Any

import pytest

from tests.unit.peripheral_scenes import PORT, STICK
from tests.unit.scenes import DEVICE, INSTANCE, OTHER_DEVICE, VOLUME
from worker.cmd import asking
from worker.cmd.main import main
from worker.rpc.methods import OPERATIONS
from worker.rpc.reading import request_from

ROW = "c0ffee00-0000-4000-8000-000000000001"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []

    def carry_out(_arguments: object, method: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        found.append((method, request))
        return {"state": "succeeded"}

    monkeypatch.setattr(asking, "carry_out", carry_out)
    return found


@pytest.mark.parametrize(
    ("words", "method", "asked"),
    [
        (
            ["attach-interface", INSTANCE, PORT, "--network", "tap", "--target", "tap0"],
            "attach_interface",
            {"port_id": PORT, "network": "tap", "target": "tap0"},
        ),
        (
            ["attach-interface", INSTANCE, PORT, "--network=user", "--mac=x", "--model=e1000"],
            "attach_interface",
            {"port_id": PORT, "network": "user", "mac_address": "x", "model": "e1000"},
        ),
        (["detach-interface", INSTANCE, PORT], "detach_interface", {"port_id": PORT}),
        (
            ["detach-interface", INSTANCE, "--uuid", ROW],
            "detach_interface",
            {"peripheral_uuid": ROW},
        ),
        (["attach-host-device", INSTANCE, STICK], "attach_host_device", {"host_device": STICK}),
        (["detach-host-device", INSTANCE, STICK], "detach_host_device", {"host_device": STICK}),
        (
            ["detach-host-device", INSTANCE, "--uuid", ROW],
            "detach_host_device",
            {"peripheral_uuid": ROW},
        ),
    ],
)
def test_words_become_arguments_of_the_bus(
    sent: list[tuple[str, dict[str, Any]]], words: list[str], method: str, asked: dict[str, Any]
) -> None:
    assert main(["device", *words]) == asking.DONE
    ((name, request),) = sent
    given = {key: value for key, value in request.items() if value is not None}
    assert (name, given) == (method, {"instance_uuid": INSTANCE} | asked)
    request_from(OPERATIONS[method].request, request)


@pytest.mark.parametrize("command", ["detach-interface", "detach-host-device"])
@pytest.mark.parametrize("named", [[], ["x", "--uuid", ROW]])
def test_a_detach_names_one_thing(command: str, named: list[str]) -> None:
    with pytest.raises(SystemExit) as wrong:
        main(["device", command, INSTANCE, *named])
    assert wrong.value.code == asking.WRONG_USAGE


def test_the_end_is_printed_for_programs_alone(
    sent: list[tuple[str, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["device", "detach-interface", INSTANCE, PORT])
    assert capsys.readouterr().out == ""
    main(["device", "detach-interface", INSTANCE, PORT, "--json"])
    assert '"state": "succeeded"' in capsys.readouterr().out
    assert len(sent) == 2


ROWS = [
    {"uuid": DEVICE, "device_name": "/dev/vda", "volume_id": None},
    {"uuid": OTHER_DEVICE, "device_name": "/dev/vdb", "volume_id": VOLUME},
]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"list_block_devices": ROWS, "get_volume": {"size": 5 << 30}}
    monkeypatch.setattr(asking, "read", lambda _given, method, **_named: answers[method])


@pytest.mark.usefixtures("read")
@pytest.mark.parametrize("name", ["vdb", "/dev/vdb", VOLUME, OTHER_DEVICE])
@pytest.mark.parametrize(("more", "size"), [((), 5 << 30), (("--size", "7G"), 7 << 30)])
def test_a_volume_is_extended_by_any_of_its_names(
    sent: list[tuple[str, dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
    name: str,
    more: tuple[str, ...],
    size: int,
) -> None:
    assert main(["device", "extend", INSTANCE, name, *more]) == asking.DONE
    asked = {"instance_uuid": INSTANCE, "bdm_uuid": OTHER_DEVICE, "new_size": size}
    assert sent == [("extend_volume", asked)]
    assert OTHER_DEVICE in capsys.readouterr().out


@pytest.mark.usefixtures("read")
@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--tag", "data"], {"tag": "data", "delete_on_termination": None}),
        (["--no-tag"], {"tag": "", "delete_on_termination": None}),
        (["--delete-on-termination"], {"tag": None, "delete_on_termination": True}),
        (["--no-delete-on-termination"], {"tag": None, "delete_on_termination": False}),
    ],
)
def test_what_is_said_of_a_device_is_changed(
    sent: list[tuple[str, dict[str, Any]]], words: list[str], given: dict[str, Any]
) -> None:
    assert main(["device", "update", INSTANCE, "vdb", *words]) == asking.DONE
    asked = {"instance_uuid": INSTANCE, "bdm_uuid": OTHER_DEVICE}
    assert sent == [("update_block_device", asked | given)]


@pytest.mark.usefixtures("read")
@pytest.mark.parametrize(("name", "says"), [("vdc", "no block device vdc"), ("vda", "local disk")])
def test_what_cannot_be_extended_is_said(
    sent: list[tuple[str, dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
    name: str,
    says: str,
) -> None:
    assert main(["device", "extend", INSTANCE, name]) == asking.FAILED
    assert says in capsys.readouterr().err
    assert sent == []


def test_the_list_is_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"uuid": ROW, "kind": "interface", "port_id": PORT, "status": "attached"}
    monkeypatch.setattr(asking, "read", lambda *_given, **_named: [row])
    assert main(["device", "peripherals", INSTANCE]) == asking.DONE
    table = capsys.readouterr().out
    assert "PORT ID" in table
    assert PORT in table
