"""How QEMU treats a volume's source: what the connection says of it, and what the file allows."""

import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_never

from worker.errors import ProtocolUnsupported
from worker.model.connection import Connection
from worker.model.source import (
    BlockSource,
    DiskOptions,
    DiskSource,
    FileSource,
    IscsiSource,
    RbdSource,
)
from worker.volume.limits import limits_in

READ_ONLY = {"ro": True, "rw": False}
"""What a volume service may say as ``access_mode``."""

_PROBE_BYTES = 4096
_SECTOR = 512


def check_treatment(connection: Connection) -> None:
    """Raise ProtocolUnsupported for what no source could be treated as."""
    _read_only(connection)
    limits_in(connection.properties)
    _block_size(connection.properties, "logical")
    _block_size(connection.properties, "physical")


def options_of(
    connection: Connection, source: DiskSource, *, cache: str, io: str | None
) -> DiskOptions:
    """Return how the source is treated; ``cache`` and ``io`` are what its protocol asks for.

    Raises ProtocolUnsupported.
    """
    said = connection.properties
    cache, io = _as_allowed(source, cache, io)
    return DiskOptions(
        cache=cache,
        io=io,
        discard="unmap" if said.get("discard") is True else None,
        read_only=_read_only(connection),
        shareable=said.get("multiattach") is True,
        logical_block_size=_block_size(said, "logical"),
        physical_block_size=_block_size(said, "physical"),
        limits=limits_in(said),
    )


def by_looking(source: DiskSource) -> tuple[str, str | None]:
    """Return cache and io of a source that no protocol says anything of."""
    match source:
        case IscsiSource() | RbdSource():
            return "none", None
        case BlockSource():
            return "none", "native"
        case FileSource(path=path):
            # Linux AIO blocks the guest's other I/O while a hole is filled.
            return "none", "native" if _is_allocated(path) else None
        case _:
            assert_never(source)


def _as_allowed(source: DiskSource, cache: str, io: str | None) -> tuple[str, str | None]:
    if isinstance(source, FileSource) and cache == "none" and not _takes_direct_io(source.path):
        # `none` opens with O_DIRECT and would fail there (Launchpad bug 1801702).
        return "writeback", None
    return cache, io


def _read_only(connection: Connection) -> bool:
    mode = connection.properties.get("access_mode", "rw")
    if not isinstance(mode, str) or mode not in READ_ONLY:
        known = ", ".join(sorted(READ_ONLY))
        raise ProtocolUnsupported(
            f"{connection.protocol} connection has access mode {mode!r}; known: {known}"
        )
    return READ_ONLY[mode]


def _block_size(properties: Mapping[str, Any], which: str) -> int | None:
    size = properties.get(f"{which}_block_size")
    if size in (None, "", 0, "0"):
        return None
    text = str(size)
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < _SECTOR or number.bit_count() != 1:
        raise ProtocolUnsupported(f"a {which} block size is a power of two, and not {size!r}")
    return number


def _takes_direct_io(path: str) -> bool:
    """Read once with O_DIRECT: some filesystems accept the open and refuse the read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Direct I/O wants an aligned buffer; a mapping starts on a page.
        with mmap.mmap(-1, _PROBE_BYTES) as buffer:
            os.preadv(descriptor, [buffer], 0)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _is_allocated(path: str) -> bool:
    state = Path(path).stat()
    return state.st_blocks * _SECTOR >= state.st_size
