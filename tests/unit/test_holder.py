"""Which process holds a state folder: told by its lock, and by nothing that may be stale."""

import os
import socket
from pathlib import Path

import pytest

from worker.errors import Invalid, WorkerUnreachable
from worker.wiring.holder import holder, owner

HERE = socket.gethostname()


def test_the_process_that_has_the_lock_open_is_named(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        lock.write(owner())
        lock.flush()
        assert holder(tmp_path) == os.getpid()
    with pytest.raises(WorkerUnreachable, match="is gone"):
        holder(tmp_path)


@pytest.mark.parametrize("text", ["", "nonsense", "process x on y"])
def test_a_lock_that_names_nobody_is_nobodys(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)
    with pytest.raises(WorkerUnreachable, match="no worker runs"):
        holder(tmp_path)


def test_a_number_that_is_anothers_by_now_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(f"process {os.getpid()} on {HERE}")
    with pytest.raises(WorkerUnreachable, match="is gone"):
        holder(tmp_path)
    (tmp_path / "lock").write_text(f"process {2**22 + 1} on {HERE}")
    with pytest.raises(WorkerUnreachable, match="is gone"):
        holder(tmp_path)


def test_another_machines_worker_is_not_looked_for_here(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("process 1 on elsewhere")
    with pytest.raises(Invalid, match="runs on elsewhere"):
        holder(tmp_path)


def test_no_lock_is_no_worker(tmp_path: Path) -> None:
    with pytest.raises(WorkerUnreachable, match="has no lock"):
        holder(tmp_path)
    with pytest.raises(WorkerUnreachable, match="has no lock"):
        holder(tmp_path / "nowhere")
