"""The doctor's own rules: each check bounded and alone, nothing secret shown."""

import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from worker.conf import load
from worker.errors import BrokerUnavailable
from worker.health.checks import folders, programs
from worker.health.checks.examine import Check, Found, examine, within
from worker.health.checks.masking import Mask
from worker.model.finding import Finding, Verdict, ok, warning, worst
from worker.wiring.doctor import CHECKS, services
from worker.wiring.doctor.surroundings import Surroundings

PASSWORD = "sesame/open 7391"
QUOTED = "sesame%2Fopen%207391"


def looked(*checks: Check, seconds: float = 30.0, patience: float = 30.0) -> Found:
    return examine(
        checks, seconds=seconds, patience=patience, tell=lambda _names: None, mask=Mask([])
    )


def fine() -> Iterable[Finding]:
    return [ok("all is well")]


def broken() -> Iterator[Finding]:
    yield ok("so far so good")
    message = "no broker\nanswers"
    raise BrokerUnavailable(message)


def odd() -> Iterable[Finding]:
    raise ZeroDivisionError(1)


def verdicts(findings: Iterable[Finding]) -> list[Verdict]:
    return [each.verdict for each in findings]


def test_a_check_that_raises_is_a_failed_line_and_costs_the_others_nothing() -> None:
    found = looked(
        Check(name="a", look=broken), Check(name="b", look=odd), Check(name="c", look=fine)
    )
    assert list(found) == ["a", "b", "c"]
    (said, a), (b,), (c,) = found.values()
    assert said == ok("so far so good")
    assert (a.verdict, a.said) == (Verdict.FAILED, "no broker answers [broker.unavailable]")
    assert (b.verdict, b.said) == (Verdict.FAILED, "1 [ZeroDivisionError]")
    assert c == ok("all is well")


def test_a_check_that_hangs_is_a_failed_line_and_is_told_of() -> None:
    let_go, told = threading.Event(), list[tuple[str, ...]]()

    def hang() -> Iterator[Finding]:
        yield ok("begun")
        let_go.wait()

    checks = [Check(name="hangs", look=hang), Check(name="fine", look=fine)]
    found = examine(checks, seconds=1.5, patience=1, tell=told.append, mask=Mask([]))
    let_go.set()

    assert (told, list(found)) == ([("hangs",)], ["hangs", "fine"])
    assert [each.said for each in found["hangs"]] == ["begun", "gave no answer within 1.5 s"]
    assert found["fine"] == (ok("all is well"),)


def test_what_can_be_done_without_is_waited_for_so_long_and_no_longer() -> None:
    let_go = threading.Event()

    def broken_look() -> int:
        raise ZeroDivisionError

    assert within(30, lambda: 7) == 7
    assert within(30, broken_look) is None
    assert within(0.05, let_go.wait) is None
    let_go.set()


def test_nothing_is_told_of_a_look_that_takes_no_time() -> None:
    told: list[tuple[str, ...]] = []
    examine([Check(name="a", look=fine)], seconds=30, patience=20, tell=told.append, mask=Mask([]))
    assert told == []


@pytest.mark.parametrize(
    "text",
    [
        f"cannot reach rabbit://worker:{PASSWORD}@broker/",
        f"cannot reach rabbit://worker:{QUOTED}@broker/",
        f"the token {PASSWORD} is refused",
        "of another: postgresql+psycopg://u:other-secret@db/x",
    ],
)
def test_no_secret_is_shown_in_whatever_form(text: str) -> None:
    mask = Mask([f"rabbit://worker:{QUOTED}@broker/", PASSWORD])
    shown = mask.over(text)
    assert not any(word in shown for word in (PASSWORD, QUOTED, "other-secret", "sesame"))
    assert "***" in shown


def test_what_every_check_says_is_masked() -> None:
    check = Check(name="a", look=lambda: [warning(f"it is {PASSWORD}", f"use {PASSWORD}")])
    found = examine([check], seconds=30, patience=30, tell=print, mask=Mask([PASSWORD]))
    assert found["a"] == (warning("it is ***", "use ***"),)


def test_the_worst_verdict_decides() -> None:
    assert worst([]) is Verdict.OK
    assert worst([Verdict.WARNING, Verdict.OK]) is Verdict.WARNING
    assert worst([Verdict.WARNING, Verdict.FAILED, Verdict.OK]) is Verdict.FAILED


def test_a_state_folder_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert verdicts(folders.state_folder(path)) == [Verdict.WARNING]
    assert not path.exists()


@pytest.mark.parametrize(
    ("folder_mode", "key_mode", "expected"),
    [
        (0o700, 0o600, [Verdict.OK, Verdict.OK]),
        (0o750, 0o600, [Verdict.WARNING, Verdict.OK]),
        (0o700, 0o640, [Verdict.OK, Verdict.FAILED]),
        (0o700, None, [Verdict.OK, Verdict.OK]),
    ],
)
def test_what_others_may_read_is_named(
    tmp_path: Path, folder_mode: int, key_mode: int | None, expected: list[Verdict]
) -> None:
    tmp_path.chmod(folder_mode)
    if key_mode is not None:
        (tmp_path / "host.key").touch()
        (tmp_path / "host.key").chmod(key_mode)
    assert verdicts(folders.state_folder(tmp_path)) == expected


def test_a_key_of_another_user_is_named(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root gives files away")
    tmp_path.chmod(0o700)
    key = tmp_path / "host.key"
    key.touch(0o600)
    os.chown(key, 65534, 65534)
    assert verdicts(folders.state_folder(tmp_path)) == [Verdict.OK, Verdict.FAILED]


def test_a_passphrase_that_others_may_read_is_none(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    assert folders.key_files(keys).verdict is Verdict.OK
    keys.mkdir()
    (keys / "one").touch(0o600)
    assert folders.key_files(keys).verdict is Verdict.OK
    (keys / "two").touch(0o644)
    found = folders.key_files(keys)
    assert (found.verdict, "1 of 2" in found.said) == (Verdict.FAILED, True)


def test_locks_are_to_be_shared_with_cinder_on_the_same_host(tmp_path: Path) -> None:
    cinder = tmp_path / "cinder.conf"
    locks = tmp_path / "locks"
    assert verdicts(folders.lock_folder(locks, shared_with=cinder)) == [Verdict.OK]
    locks.mkdir()
    cinder.touch()
    assert verdicts(folders.lock_folder(locks, shared_with=cinder)) == [
        Verdict.OK,
        Verdict.WARNING,
    ]
    assert verdicts(folders.lock_folder(locks)) == [Verdict.OK]


def test_room_is_told_once_a_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"state": tmp_path, "pool": tmp_path / "not" / "there"}
    (found,) = folders.room(wanted)
    assert "state, pool" in found.said
    monkeypatch.setattr(folders, "LEAST", 1 << 62)
    assert verdicts(folders.room(wanted)) == [Verdict.WARNING]


@pytest.fixture
def with_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is all there is to search."""
    monkeypatch.setattr(programs, "SEARCHED", str(tmp_path))
    return tmp_path


def have(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch(0o755)


def test_a_program_of_a_protocol_in_use_has_to_be_here(with_programs: Path) -> None:
    have(with_programs, "nvme", "iscsiadm")
    unused = list(programs.tools(frozenset()))
    assert verdicts(unused) == [Verdict.OK, Verdict.OK]
    assert "nvmeof" in unused[0].said
    assert "iscsi (iscsid, lsscsi, sg_inq)" in unused[1].said
    used = list(programs.tools({"iscsi", "nvmeof", "local"}))
    assert verdicts(used) == [Verdict.FAILED, Verdict.OK, Verdict.OK]
    assert used[0].do == "install open-iscsi, lsscsi, sg3-utils"


def test_every_program_has_a_package() -> None:
    named = {program for needed in programs.PROGRAMS.values() for program in needed}
    assert named <= set(programs.PACKAGES)


@pytest.mark.parametrize(
    ("used", "helper", "user", "verdict"),
    [
        ({"iscsi"}, "", 0, Verdict.OK),
        ({"iscsi"}, "sudo -n", 1000, Verdict.OK),
        ({"iscsi"}, "", 1000, Verdict.FAILED),
        ({"local", "rbd"}, "", 1000, Verdict.OK),
    ],
)
def test_an_ordinary_user_connects_nothing_without_a_helper(
    used: set[str], helper: str, user: int, verdict: Verdict
) -> None:
    assert verdicts(programs.rights(used, root_helper=helper, user=user)) == [verdict]


def test_the_initiator_has_a_daemon_and_a_name(with_programs: Path, tmp_path: Path) -> None:
    name = tmp_path / "initiatorname.iscsi"
    assert verdicts(programs.iscsi((), used=False, name=name)) == [Verdict.WARNING]
    have(with_programs, "iscsiadm")
    assert verdicts(programs.iscsi((), used=False, name=name)) == [Verdict.WARNING] * 2
    assert verdicts(programs.iscsi((), used=True, name=name)) == [Verdict.FAILED] * 2
    name.write_text("# made by hand\nInitiatorName=\n")
    listening = {programs.ISCSID}
    assert verdicts(programs.iscsi(listening, used=True, name=name)) == [Verdict.OK, Verdict.FAILED]
    name.write_text("# made by hand\nInitiatorName=iqn.2026-01.org.example:host\n")
    found = list(programs.iscsi(listening, used=True, name=name))
    assert verdicts(found) == [Verdict.OK, Verdict.OK]
    assert "iqn.2026-01.org.example:host" in found[1].said


def test_multipathd_is_asked_for_only_where_it_is_wanted(with_programs: Path) -> None:
    def said(*listening: str, wanted: bool = True, enforced: bool = True) -> list[Verdict]:
        return verdicts(programs.multipath(listening, wanted=wanted, enforced=enforced))

    assert said(wanted=False, enforced=False) == [Verdict.OK]
    assert said(wanted=False) == [Verdict.OK, Verdict.WARNING]
    assert said() == [Verdict.FAILED]
    have(with_programs, "multipath", "multipathd")
    assert said() == [Verdict.FAILED]
    assert said(enforced=False) == [Verdict.WARNING]
    assert all(said(name) == [Verdict.OK] for name in programs.MULTIPATHD)


def test_a_socket_without_a_file_is_found_by_its_name() -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        name = f"blockworker-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.listen()
        assert f"@{name}" in programs.sockets()


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({}, Verdict.OK),
        ({"volume__pool_protocol": "iscsi"}, Verdict.FAILED),
        (
            {"volume__pool_protocol": "iscsi", "volume__pool_tgt_socket": "/nowhere/socket.0"},
            Verdict.FAILED,
        ),
    ],
)
def test_a_pool_over_iscsi_needs_its_tgtd(
    with_programs: Path, more: dict[str, str], verdict: Verdict
) -> None:
    conf = load((), state_path=str(with_programs), volume__pool_portal="127.0.0.1:3260", **more)
    assert verdicts(services.volume_service(Surroundings(conf))) == [verdict]
    if verdict is Verdict.FAILED and len(more) == 1:
        have(with_programs, "tgtd")
        assert verdicts(services.volume_service(Surroundings(conf))) == [Verdict.OK]


def test_keys_are_where_the_configuration_says(tmp_path: Path) -> None:
    conf = load((), state_path=str(tmp_path), volume__keys_path=str(tmp_path / "elsewhere"))
    (found,) = services.keys(Surroundings(conf))
    assert "elsewhere" in found.said


def test_the_page_has_every_check_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs/doctor.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z ]+)` \|", page, re.MULTILINE) == list(CHECKS)
