"""iSCSI by one path, with a password."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.inside.storage.daemons import left
from tests.system.inside.storage.targets import MIB, SIZE, Tgt, iscsi, new_file, read, write
from worker.errors import ConnectFailed
from worker.model.source import BlockSource, Seen
from worker.volume.brick import BrickConnector

PASSWORD = "sesame-open-7391"


def test_what_was_written_before_a_detach_is_read_after_the_next_attach(
    connector: BrickConnector, tgt: Tgt, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    connection = tgt.add("chap", new_file(tmp_path, "chap"), password=PASSWORD)
    assert connector.find(connection) is None

    volume = connector.connect(connection)
    assert isinstance(volume.source, BlockSource)
    assert connector.find(connection) == volume == connector.connect(connection)
    assert connector.examine(volume) == Seen(size=SIZE, wwid="t10.volume-chap")
    write(volume.source.path, "of the guest", at=7)
    assert len(left()["sessions"]) == len(left()["disks"]) == 1
    for _ in range(2):
        connector.disconnect(connection.without_secrets())
    assert left() == {}

    again = connector.connect(connection)
    assert read(again.source.name, at=7) == "of the guest"
    connector.disconnect(connection.without_secrets())
    assert PASSWORD not in caplog.text


def test_a_wrong_password_is_not_let_in_and_leaves_nothing(
    connector: BrickConnector, tgt: Tgt, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tgt.add("guarded", new_file(tmp_path, "guarded"), password=PASSWORD)
    wrong = "wrong-open-1234"
    said = {"auth_method": "CHAP", "auth_username": "guarded", "auth_password": wrong}
    with pytest.raises(ConnectFailed) as failed:
        connector.connect(iscsi("guarded", **said))
    assert wrong not in str(failed.value) + caplog.text


def test_a_volume_that_has_grown_is_as_large_as_it_is(
    connector: BrickConnector, tgt: Tgt, tmp_path: Path
) -> None:
    backing = new_file(tmp_path, "growing")
    connection = tgt.add("growing", backing)
    volume = connector.connect(connection)
    with backing.open("r+b") as file:
        file.truncate(SIZE + 16 * MIB)
    # tgtd looks at a file when it opens it.
    tgt.replace("growing", backing)
    assert connector.extend(connection.without_secrets()) == SIZE + 16 * MIB
    assert connector.examine(volume).size == SIZE + 16 * MIB
    connector.disconnect(connection)


def test_the_host_is_known_by_its_initiator(connector: BrickConnector) -> None:
    found = connector.properties()
    assert found["initiator"].startswith("iqn.")
    assert found["nqn"].startswith("nqn.")


def test_a_helper_with_rights_does_it_for_who_has_none(tgt: Tgt, tmp_path: Path) -> None:
    """os-brick's settings are the process's: a process of its own has its tools run by a helper."""
    tgt.add("helped", new_file(tmp_path, "helped"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.inside.storage.helped", "helped", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{SIZE} t10.volume-helped" in done.stdout
