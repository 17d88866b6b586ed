"""Folders and files of the worker's own: whose they are, and whether there is room."""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from worker.model.finding import Finding, failed, ok, warning

GIB = 1 << 30
LITTLE = 5
"""Percent; less than that free is little room."""

LEAST = 1 * GIB
"""Bytes; less than that free is little room, however small the disk."""

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def state_folder(path: Path) -> Iterator[Finding]:
    """Look at the worker's own folder and the key in it, and make neither."""
    if not path.is_dir():
        yield warning(
            f"the state folder {path} is not there",
            "it is made by `blockworker serve`; set state_path if another is meant",
        )
        return
    if path.stat().st_mode & OTHERS:
        yield warning(f"others may look into {path}", f"chmod 0700 {path}")
    else:
        yield ok(f"{path} is the worker's alone")
    yield _key(path / "host.key")


def key_files(path: Path) -> Finding:
    """Look at the folder of the passphrases of encrypted volumes, and at none of these."""
    if not path.is_dir():
        return ok(f"passphrases would be files of {path}, which is not there yet")
    files = [each for each in sorted(path.iterdir()) if each.is_file()]
    read = [each.name for each in files if each.stat().st_mode & OTHERS]
    if read:
        return failed(
            f"{len(read)} of {len(files)} passphrases in {path} may be read by others, and are"
            f" taken for none: {', '.join(read[:3])}",
            "chmod 0600 each, and consider what it opens as seen",
        )
    return ok(f"passphrases are files of {path}: {len(files)}")


def lock_folder(path: Path, *, shared_with: Path | None = None) -> Iterator[Finding]:
    """Look at the folder of os-brick's locks.

    ``shared_with`` is what says that Cinder's volume service is on this host too.
    """
    if not path.is_dir():
        yield ok(f"{path} is not there yet; it is made with the first lock")
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield failed(f"{path} may not be written by this user", "give it to the worker's user")
    else:
        yield ok(f"{path} can be written")
    if shared_with is not None and shared_with.exists():
        yield warning(
            f"{shared_with} says that Cinder is on this host too, and lock_path is not set",
            "set [volume] lock_path to the lock_path of [oslo_concurrency] in Cinder's"
            " configuration: both connect volumes here, and must wait for each other",
        )


def room(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Look how much room is left where these are, or will be; one line a file system."""
    seen: dict[int, tuple[Path, list[str]]] = {}
    for name, path in folders.items():
        there = _nearest(path)
        _, names = seen.setdefault(there.stat().st_dev, (there, []))
        names.append(name)
    for there, names in seen.values():
        yield _room(there, names)


def _room(path: Path, names: list[str]) -> Finding:
    usage = shutil.disk_usage(path)
    said = f"{usage.free / GIB:.1f} GiB of {usage.total / GIB:.1f} free for {', '.join(names)}"
    if usage.free < max(LEAST, usage.total * LITTLE // 100):
        return warning(said, f"make room on the file system of {path}")
    return ok(said)


def _nearest(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def _key(path: Path) -> Finding:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ok(f"{path.name} is made when the first secret is sealed")
    if found.st_mode & OTHERS:
        return failed(
            f"{path} may be read by others: secret arguments are sealed with it, and are not opened"
            " any more",
            f"chmod 0600 {path}, and consider what it has sealed as seen",
        )
    if found.st_uid != path.parent.stat().st_uid:
        return failed(f"{path} is another user's than its folder", f"chown it like {path.parent}")
    return ok(f"{path.name} is the worker's alone")
