"""What a worker remembers of its libvirtd, and when that is worth nothing."""

import json
from pathlib import Path

import pytest

from worker.model.ids import InstanceId
from worker.virt.libvirtd.daemon import Daemon
from worker.virt.libvirtd.memory import Memory, Sighting

URI = "qemu:///system"
GUEST = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e001")


def seen(folder: Path) -> Sighting:
    """Return a libvirtd that is dead: no process has that start."""
    file = folder / "libvirtd.pid"
    file.write_text("1\n")
    found = file.stat()
    return Sighting(path=str(file), device=found.st_dev, inode=found.st_ino, pid=1, started="never")


def remember(folder: Path) -> Memory:
    memory = Memory(folder, URI)
    memory.keep_doubts(frozenset({GUEST}))
    memory.keep_sightings([seen(folder)])
    return Memory(folder, URI)


def test_a_later_worker_finds_all_that_was_kept(tmp_path: Path) -> None:
    memory = remember(tmp_path)
    assert memory.doubts == {GUEST}
    assert memory.sightings == (seen(tmp_path),)
    found = Daemon.remembered(memory)
    assert found is not None
    assert found.may_have_died()
    found.close()


@pytest.mark.parametrize("change", [{"boot": "another"}, {"uri": "qemu:///another"}])
def test_another_boot_of_the_host_or_another_libvirt_is_a_fresh_start(
    tmp_path: Path, change: dict[str, str]
) -> None:
    remember(tmp_path)
    file = tmp_path / "libvirtd.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    memory = Memory(tmp_path, URI)
    assert (memory.doubts, memory.sightings) == (frozenset(), ())
    assert Daemon.remembered(memory) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff"])
def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "libvirtd.json").write_text(text, encoding="latin-1")
    memory = Memory(tmp_path, URI)
    assert (memory.doubts, memory.sightings) == (frozenset(), ())


def test_what_another_release_remembered_of_a_libvirtd_says_nothing(tmp_path: Path) -> None:
    remember(tmp_path)
    file = tmp_path / "libvirtd.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seen": [{"pid": 1}]}))
    memory = Memory(tmp_path, URI)
    assert (memory.doubts, memory.sightings) == (frozenset({GUEST}), ())


def test_a_folder_that_cannot_be_written_keeps_no_worker_from_its_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "libvirtd.new").mkdir()
    Memory(tmp_path, URI).keep_sightings([seen(tmp_path)])
    assert "libvirtd not remembered" in caplog.text
    assert Memory(tmp_path, URI).sightings == ()


def test_who_only_looks_on_writes_nothing(tmp_path: Path) -> None:
    memory = Memory(tmp_path, URI, keep=False)
    memory.keep_doubts(frozenset({GUEST}))
    memory.keep_sightings([seen(tmp_path)])
    assert [file.name for file in tmp_path.iterdir()] == ["libvirtd.pid"]


def test_a_pid_file_that_was_removed_says_that_its_daemon_stopped(tmp_path: Path) -> None:
    memory = remember(tmp_path)
    (tmp_path / "libvirtd.pid").unlink()
    found = Daemon.remembered(memory)
    assert found is not None
    assert not found.may_have_died()
    found.close()


def test_one_without_a_second_name_that_was_removed_is_not_asked_for(tmp_path: Path) -> None:
    memory = remember(tmp_path)
    for file in [tmp_path / "libvirtd.pid", *tmp_path.glob("libvirtd-pin.*")]:
        file.unlink()
    assert Daemon.remembered(memory) is None


def test_the_second_name_of_an_earlier_libvirtd_is_taken_away(tmp_path: Path) -> None:
    memory = remember(tmp_path)
    memory.keep_sightings([])
    assert not list(tmp_path.glob("libvirtd-pin.*"))
