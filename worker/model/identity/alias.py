"""The alias: the handle by which a device of a guest is found (DESIGN section 1.5).

libvirt keeps one of a user's own if it begins with ``ua-`` and has no other characters than these,
and drops every other without a word (https://libvirt.org/formatdomain.html, "Devices").
"""

import re

from worker.model.ids import InstanceId

PREFIX = "ua-"
"""How every alias begins that is not libvirt's own."""

_KEPT = re.compile(r"ua-[A-Za-z0-9_-]+")


def alias_of(identity: str) -> str:
    """Return the alias of a volume, a row or a port."""
    return f"{PREFIX}{identity}"


def config_drive_alias(instance: InstanceId) -> str:
    """Return the alias of an instance's config drive, which has no row."""
    return alias_of(f"config-{instance}")


def is_ours(alias: str | None) -> bool:
    """Tell whether the alias has our form, which is no proof that it is ours."""
    return alias is not None and alias.startswith(PREFIX)


def is_kept(alias: str) -> bool:
    """Tell whether libvirt keeps the alias."""
    return _KEPT.fullmatch(alias) is not None
