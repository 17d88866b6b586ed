"""How a host reaches a volume, as the volume service said it, with and without its secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.model.ids import BlockDeviceId, InstanceId, VolumeId

SECRET_KEYS = frozenset(
    {
        "auth_password",
        "auth_username",
        "discovery_auth_password",
        "discovery_auth_username",
        "encryption_key_id",
        "keyring",
        "password",
        "secret",
        "secret_key",
        "token",
        "serverAuthToken",
        "serverPassword",
    }
)
"""Names under which volume services hand over secrets (os-brick's connectors, Cinder's drivers)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A volume service's answer: the protocol and its properties.

    ``properties`` is opaque to the core: ``volume/`` alone reads it. It never shows in a repr,
    since it may hold a secret.
    """

    protocol: str
    properties: Mapping[str, Any] = field(repr=False)

    def without_secrets(self) -> "Connection":
        """Return the connection as it may be stored."""
        return Connection(protocol=self.protocol, properties=_scrub(self.properties))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRecord:
    """That this host is connected to a volume, or was about to be, for a block device."""

    device: BlockDeviceId
    instance: InstanceId
    volume: VolumeId
    connection: Connection


def _scrub(value: Any) -> Any:  # noqa: ANN401 - JSON has no narrower type
    match value:
        case Mapping():
            kept = (key for key in value if not is_secret(key) or _is_shown(key, value))
            return {key: _scrub(value[key]) for key in kept}
        case list() | tuple():
            return [_scrub(item) for item in value]
        case _:
            return value


def _is_shown(key: object, beside: Mapping[Any, Any]) -> bool:
    """A user of Ceph's stands in every layout, and its key is found on the host by that name."""
    return key == "auth_username" and beside.get("secret_type") == "ceph"


def is_secret(key: object) -> bool:
    """Tell whether the property of that name holds a secret."""
    name = str(key)
    return name in SECRET_KEYS or "password" in name.lower() or "passphrase" in name.lower()
