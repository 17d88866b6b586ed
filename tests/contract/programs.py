"""Programs that misbehave, in the place of those that make disks."""

import os
from pathlib import Path

import pytest


def in_place_of(name: str, folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the shell script be run when the program is."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
