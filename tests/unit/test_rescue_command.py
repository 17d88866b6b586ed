"""What ``instance rescue`` and ``unrescue`` ask for, and print; on a worker of fakes."""

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.world import World
from tests.unit import build_scenes
from tests.unit.fake_worker import FakeWorker
from tests.unit.scenes import INSTANCE
from worker.cmd import asking
from worker.cmd.instance_rescue import described
from worker.cmd.main import main
from worker.errors import RequestMalformed
from worker.model.ids import ImageId
from worker.model.image import Image
from worker.model.instance import VmState
from worker.rpc.answers import answer_of, result_of

RESCUE = ImageId("d15c0000-0000-4000-8000-0000000000aa")
SECRET = "open sesame"


@dataclass
class Worker:
    """A worker at the end of the local socket, and what it was asked."""

    world: World
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start it."""
        self._fake = FakeWorker(self.world, guard=lambda: None)

    def call(self, method: str, /, **request: Any) -> Any:  # noqa: ANN401
        """Answer as the socket would, when all there is to do is done."""
        self.asked.append((method, request))
        answer = answer_of(lambda: self._fake.call(method, **request))
        while self._fake.lanes:
            self._fake.work(self._fake.lanes[0])
        return result_of(json.loads(json.dumps(answer)))


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Worker:
    world = build_scenes.built()
    world.images[RESCUE] = Image(
        id=RESCUE, name="rescue", format="qcow2", properties={"hw_rescue_bus": "usb"}
    )
    found = Worker(world)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(asking, "LocalClient", lambda _path: found)
    return found


def run(worker: Worker, *words: str) -> tuple[str, dict[str, Any]]:
    """Run a command that is to succeed; return what it asked for first."""
    assert main(["instance", *words]) == asking.DONE
    method, request = worker.asked[0]
    return method, {name: value for name, value in request.items() if name != "operation_id"}


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def wrong(capsys: pytest.CaptureFixture[str], worker: Worker, *words: str) -> str:
    """Run a command that is to fail before it asks for anything; return what it says."""
    assert main(["instance", "rescue", INSTANCE, *words]) == asking.FAILED
    assert worker.asked == []
    return capsys.readouterr().err


def test_a_rescue_is_asked_for_and_said_when_the_guest_runs_in_it(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = run(worker, "rescue", INSTANCE, "--image", RESCUE)
    assert asked == (
        "rescue_instance",
        {"instance_uuid": INSTANCE, "rescue_image_ref": RESCUE, "clean_shutdown": True},
    )
    assert worker.world.instances[INSTANCE].vm_state is VmState.RESCUED
    said = capsys.readouterr().out
    assert said.startswith(f"instance {INSTANCE} runs in rescue (stable): image {RESCUE} is /dev/")


def test_an_unrescue_ends_it_and_says_nothing(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["instance", "rescue", INSTANCE, "--image", RESCUE])
    worker.asked.clear()
    capsys.readouterr()
    asked = run(worker, "unrescue", INSTANCE, "--hard")
    assert asked == ("unrescue_instance", {"instance_uuid": INSTANCE, "clean_shutdown": False})
    assert worker.world.instances[INSTANCE].vm_state is VmState.ACTIVE
    assert capsys.readouterr().out == ""


def test_programs_get_the_operation(worker: Worker, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("rescue", "unrescue"):
        assert main(["instance", command, INSTANCE, "--json"]) == asking.DONE
        found = json.loads(capsys.readouterr().out)
        assert (found["method"], found["state"]) == (f"{command}_instance", "succeeded")


def test_a_rescue_that_was_ended_at_once_is_said_so(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = {"uuid": INSTANCE, "vm_state": "active", "rescue": None}
    monkeypatch.setattr(asking, "read", lambda *_given, **_named: ended)
    run(worker, "rescue", INSTANCE)
    assert capsys.readouterr().out == f"instance {INSTANCE} is active\n"


def test_show_says_what_it_is_rescued_with(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    run(worker, "rescue", INSTANCE, "--image", RESCUE)
    capsys.readouterr()
    assert main(["instance", "show", INSTANCE]) == asking.DONE
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("rescue")]
    assert all(part in line for part in (RESCUE, '"mode": "stable"', "device_name", "since"))


def test_a_rescue_of_one_in_rescue_fails(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    run(worker, "rescue", INSTANCE)
    assert main(["instance", "rescue", INSTANCE]) == asking.FAILED
    assert "[instance.rescued]" in capsys.readouterr().err


def test_a_password_comes_by_stdin_or_a_file_and_is_never_printed(
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    typed(monkeypatch, SECRET)
    for words in (("--password-stdin",), ("--password-file", str(file))):
        worker.asked.clear()
        _, request = run(worker, "rescue", INSTANCE, "--json", *words)
        assert request["rescue_password"] == SECRET
        run(worker, "unrescue", INSTANCE)
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err


def test_who_sits_at_a_terminal_is_asked_and_it_is_not_echoed(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: SECRET)
    _, request = run(worker, "rescue", INSTANCE, "--password-stdin")
    assert request["rescue_password"] == SECRET


@pytest.mark.parametrize("text", ["", "\n", f"{SECRET}\nmore\n"])
def test_what_is_not_one_line_is_no_password(
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
) -> None:
    typed(monkeypatch, text)
    said = wrong(capsys, worker, "--password-stdin")
    assert RequestMalformed.code in said
    assert SECRET not in said


def test_a_file_that_holds_no_password_is_named(
    worker: Worker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bytes_ = tmp_path / "bytes"
    bytes_.write_bytes(b"\xff\xfe")
    for file in (tmp_path / "none", bytes_):
        said = wrong(capsys, worker, "--password-file", str(file))
        assert RequestMalformed.code in said
        assert str(file) in said


@pytest.mark.parametrize(
    "words",
    [
        ("--password", SECRET),
        ("--password-stdin", "--password-file", "x"),
        ("--plan", "--password-stdin"),
    ],
)
def test_no_password_is_taken_from_the_command_line_and_none_for_a_plan(
    words: Sequence[str],
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["instance", "rescue", INSTANCE, *words])
    assert refused.value.code == asking.WRONG_USAGE


def planned(worker: Worker, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Return the lines of the plan; nothing is changed by it."""
    before = worker.world.seen()
    assert run(worker, "rescue", INSTANCE, "--plan", *words)[0] == "plan_rescue"
    assert worker.world.seen() == before
    return capsys.readouterr().out.splitlines()


def changes(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return what each line of the table begins and ends with."""
    rows = [re.split(r"  +", line) for line in lines[3:-2]]
    return [(row[0], row[-1]) for row in rows]


def test_a_plan_has_each_disk_before_and_in_rescue(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    head, _, titles, *lines = planned(worker, capsys, "--image", RESCUE)
    assert f"image {RESCUE}, stable mode: a disk on usb" in head
    assert "by its firmware, from the rescue disk alone" in head
    assert " ".join(titles.split()) == "WHAT BEFORE BOOT IN RESCUE BOOT IN RESCUE CHANGE"
    place = "/dev/vda virtio pci:0000:04:00.0"
    assert re.split(r"  +", lines[0]) == ["root", place, "1", place, "-", "stays"]
    assert lines[-3].split()[:3] == ["rescue", "disk", "-"]
    assert lines[-1] == "nothing was changed"


def test_a_stable_plan_adds_one_disk_and_the_others_stay(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    found = changes(planned(worker, capsys, "--image", RESCUE))
    assert found[-1] == ("rescue disk", "added")
    assert {change for _, change in found[:-1]} == {"stays"}
    assert len(found) == 6


def test_a_legacy_plan_moves_the_root_and_says_what_is_away(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = planned(worker, capsys)
    assert "legacy mode" in lines[0]
    assert "the guest is started by a kernel" in lines[0]
    assert changes(lines) == [
        ("rescue disk", "added"),
        ("root", "moves"),
        ("config drive", "stays"),
        ("local", "away"),
        ("local", "away"),
        ("volume", "away"),
    ]


def test_programs_get_the_plan_as_it_is_answered(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = planned(worker, capsys, "--json")
    found = json.loads("\n".join(lines))
    assert found == worker.call("plan_rescue", instance_uuid=INSTANCE)


def test_a_plan_of_what_would_be_refused_fails_with_the_same_code(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.world.images[RESCUE] = replace(
        worker.world.images[RESCUE], properties={"hw_rescue_bus": "ide"}
    )
    for words in (("--plan",), ()):
        assert main(["instance", "rescue", INSTANCE, "--image", RESCUE, *words]) == asking.FAILED
        assert "[block_device.type_unsupported]" in capsys.readouterr().err


def test_an_address_that_is_not_known_is_left_open() -> None:
    disk = {
        "what": "root",
        "was": "/dev/hda",
        "device_name": "/dev/hda",
        "bus": "ide",
        "address": None,
        "boot_order": None,
        "in_rescue": True,
        "moved": False,
    }
    plan = {"image": "x", "mode": "stable", "device_type": "disk", "bus": "usb", "boot": "kernel"}
    assert "/dev/hda ide -  -" in described(plan | {"before": [disk], "in_rescue": [disk]})
