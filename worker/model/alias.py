"""The alias: the handle by which a device of a guest is found (DESIGN section 1.5).

libvirt keeps one of a user's own if it begins with ``ua-`` and has no other characters than these,
and drops every other without a word (https://libvirt.org/formatdomain.html, "Devices").
"""

import re

PREFIX = "ua-"
"""How every alias begins that is not libvirt's own."""

_KEPT = re.compile(r"ua-[A-Za-z0-9_-]+")


def alias_of(identity: str) -> str:
    """Return the alias of a volume, a row or a port."""
    return f"{PREFIX}{identity}"


def is_kept(alias: str) -> bool:
    """Tell whether libvirt keeps the alias."""
    return _KEPT.fullmatch(alias) is not None
