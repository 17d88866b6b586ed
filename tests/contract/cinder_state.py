"""What a Cinder keeps, and how that changes: volumes and attachments, as its API has them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

Json = dict[str, Any]

CHAP = "planted-chap-19d2"
"""A secret of a connection: nothing of ours may show it."""

OF_WHO_STAYS = {"attached": "in-use", "attaching": "attaching", "reserved": "reserved"}
"""What a volume is when one has left, by those who stay; the first that fits."""


class RefusalError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"fault": {"code": status, "message": message}}


def wrong_state(volume: Json, wanted: str) -> RefusalError:
    message = (
        f"Invalid volume: Volume {volume['id']} status must be {wanted} to reserve, but the"
        f" current status is {volume['status']}."
    )
    return RefusalError(400, message)


@dataclass
class CinderState:
    """Volumes, attachments, and who has reached what."""

    volumes: dict[str, Json] = field(default_factory=dict)
    attachments: dict[str, Json] = field(default_factory=dict)
    encryption: dict[str, Json] = field(default_factory=dict)
    exports: list[str] = field(default_factory=list)
    page: int = 1000

    def add(self, volume: str, *, size: int = 1, name: str = "", multiattach: bool = False) -> Json:
        made = {
            "id": volume,
            "size": size,
            "status": "available",
            "name": name,
            "volume_type": None,
            "multiattach": multiattach,
            "encrypted": False,
            "metadata": {},
            "attachments": [],
        }
        return self.volumes.setdefault(volume, made)

    def volume(self, volume: str) -> Json:
        if volume not in self.volumes:
            raise RefusalError(404, f"Volume {volume} could not be found.")
        return self.volumes[volume]

    def attachment(self, attachment: str) -> Json:
        if attachment not in self.attachments:
            message = f"Volume attachment could not be found with filter: {attachment}."
            raise RefusalError(404, message)
        return self.attachments[attachment]

    def listed(self, query: Mapping[str, str]) -> Json:
        wanted = {"instance": query.get("instance_id"), "volume_id": query.get("volume_id")}
        fits = [
            one
            for one in self.attachments.values()
            if all(value is None or one[name] == value for name, value in wanted.items())
        ]
        after = [one["id"] for one in fits].index(query["marker"]) + 1 if "marker" in query else 0
        summary = ("id", "status", "instance", "volume_id")
        page = fits[after : after + self.page]
        return {"attachments": [{name: one[name] for name in summary} for one in page]}

    def reserve(self, wanted: Json) -> Json:
        volume, instance = self.volume(wanted["volume_uuid"]), wanted["instance_uuid"]
        held = [one for one in self.attachments.values() if one["volume_id"] == volume["id"]]
        again = any(one["instance"] == instance for one in held)
        free = volume["status"] == "available" or (
            volume["multiattach"] and volume["status"] == "in-use"
        )
        if not free and not (again and volume["status"] in ("in-use", "reserved")):
            raise wrong_state(volume, "available or downloading")
        made = {
            "id": str(uuid4()),
            "status": "reserved",
            "instance": instance,
            "volume_id": volume["id"],
            "attached_at": "",
            "detached_at": "",
            "attach_mode": "null",
            "connection_info": {},
        }
        self.attachments[made["id"]] = made
        volume["status"] = "reserved"
        return {"attachment": made}

    def update(self, attachment: str, connector: Json) -> Json:
        held = self.attachment(attachment)
        if not connector.get("host"):
            raise RefusalError(400, "Invalid input received: the connector has no host")
        self.exports.append(attachment)
        # Pressed to one level, as Cinder does it.
        held["connection_info"] = {
            **self.reached(held["volume_id"])["data"],
            "driver_volume_type": "iscsi",
            "attachment_id": attachment,
            "enforce_multipath": False,
        }
        held["status"] = self.volume(held["volume_id"])["status"] = "attaching"
        return {"attachment": held}

    def complete(self, attachment: str) -> None:
        held = self.attachment(attachment)
        held["status"] = "attached"
        self.volume(held["volume_id"])["status"] = "in-use"

    def drop(self, attachment: str, *, service: bool) -> Json:
        held = self.attachment(attachment)
        if held["connection_info"] and not service:
            message = f"Detach volume from instance {held['instance']} using the Compute API"
            raise RefusalError(409, message)
        del self.attachments[attachment]
        stay = {
            one["status"]
            for one in self.attachments.values()
            if one["volume_id"] == held["volume_id"]
        }
        left = [status for word, status in OF_WHO_STAYS.items() if word in stay]
        self.volume(held["volume_id"])["status"] = left[0] if left else "available"
        return {"attachments": []}

    def remove(self, volume: str) -> None:
        found = self.volume(volume)
        if found["status"] not in ("available", "error"):
            raise RefusalError(400, "Invalid volume: Volume status must be available or error")
        del self.volumes[volume]

    def act(self, volume: str, action: str, given: Json, *, service: bool) -> Json:
        found = self.volume(volume)
        if action in ("os-detach", "os-terminate_connection") and not service:
            raise RefusalError(409, "Detach volume from instance using the Compute API")
        actions: dict[str, Callable[[Json, Json], Json | None]] = {
            "os-begin_detaching": self._begin_detaching,
            "os-roll_detaching": _roll_detaching,
            "os-reserve": _reserve,
            "os-unreserve": _unreserve,
            "os-initialize_connection": self._initialize,
            "os-attach": _attach,
            "os-terminate_connection": self._terminate,
            "os-detach": _detach,
        }
        return actions[action](found, given or {}) or {}

    def reached(self, volume: str) -> Json:
        data = {
            "target_portal": "192.0.2.7:3260",
            "target_iqn": f"iqn.2010-10.org.openstack:volume-{volume}",
            "target_lun": 1,
            "volume_id": volume,
            "auth_method": "CHAP",
            "auth_username": "planted-user",
            "auth_password": CHAP,
            "encrypted": self.volume(volume)["encrypted"],
            "qos_specs": None,
            "access_mode": "rw",
        }
        return {"driver_volume_type": "iscsi", "data": data}

    def _begin_detaching(self, volume: Json, _: Json) -> None:
        if volume["status"] != "in-use":
            raise RefusalError(400, "Invalid volume: Unable to detach volume.")
        volume["status"] = "detaching"

    def _initialize(self, volume: Json, given: Json) -> Json:
        if not given["connector"].get("host"):
            raise RefusalError(400, "Invalid input received: the connector has no host")
        self.exports.append(volume["id"])
        return {"connection_info": {**self.reached(volume["id"]), "mount_point_base": "/mnt"}}

    def _terminate(self, volume: Json, _: Json) -> None:
        self.exports = [one for one in self.exports if one != volume["id"]]


def _roll_detaching(volume: Json, _: Json) -> None:
    if volume["status"] == "detaching":
        volume["status"] = "in-use"


def _reserve(volume: Json, _: Json) -> None:
    if volume["status"] not in ("available", "in-use")[: 1 + volume["multiattach"]]:
        raise wrong_state(volume, "available")
    volume["status"] = "attaching"


def _unreserve(volume: Json, _: Json) -> None:
    if volume["status"] == "attaching":
        volume["status"] = "in-use" if volume["attachments"] else "available"


def _attach(volume: Json, given: Json) -> None:
    if volume["status"] not in ("attaching", "in-use")[: 1 + volume["multiattach"]]:
        raise RefusalError(400, "Invalid volume: status must be available or downloading")
    made = {
        "id": volume["id"],
        "attachment_id": str(uuid4()),
        "volume_id": volume["id"],
        "server_id": given["instance_uuid"],
        "host_name": given.get("host_name"),
        "device": given["mountpoint"],
    }
    volume["attachments"].append(made)
    volume["status"] = "in-use"


def _detach(volume: Json, given: Json) -> None:
    stay = [one for one in volume["attachments"] if one["attachment_id"] != given["attachment_id"]]
    volume["attachments"] = stay
    volume["status"] = "in-use" if stay else "available"
