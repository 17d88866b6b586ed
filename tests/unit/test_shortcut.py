"""A short name for a long folder: the same one each time, and only if it is ours."""

from pathlib import Path

import pytest

from worker.virt.libvirtd.shortcut import Shortcut


@pytest.fixture
def shortcut(tmp_path: Path) -> Shortcut:
    return Shortcut(tmp_path, tmp_path / "record")


def test_the_link_leads_to_the_folder_and_goes(shortcut: Shortcut, tmp_path: Path) -> None:
    link = shortcut.path()

    assert link.readlink() == tmp_path
    shortcut.remove()
    assert not link.is_symlink()
    shortcut.remove()


def test_the_name_stays_when_the_link_went_and_came(shortcut: Shortcut, tmp_path: Path) -> None:
    first = shortcut.path()
    shortcut.remove()

    again = Shortcut(tmp_path, tmp_path / "record")

    assert again.path() == first
    again.remove()


def test_a_name_that_someone_else_took_is_given_up(shortcut: Shortcut, tmp_path: Path) -> None:
    first = shortcut.path()
    first.unlink()
    first.symlink_to("/elsewhere")

    second = shortcut.path()

    assert second != first
    assert second.readlink() == tmp_path
    shortcut.remove()
    assert first.is_symlink()
    first.unlink()


def test_nothing_is_removed_that_was_never_made(shortcut: Shortcut, tmp_path: Path) -> None:
    shortcut.remove()

    assert list(tmp_path.iterdir()) == []
