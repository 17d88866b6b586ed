"""How a disk stands whose content is being copied, or was."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCopy:
    """``source`` is what the guest has as the disk, ``target`` where it is being copied to, if so.

    ``percent`` tells how far that is; one that is ``ready`` follows what the guest writes, and the
    guest can go over to it.
    """

    source: str | None = None
    target: str | None = None
    percent: int = 0
    ready: bool = False
