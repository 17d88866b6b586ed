"""Cinder without attachments: reserve, initialize_connection, attach, and back.

Cinder keeps no record of who has reserved a volume, so the worker writes one: an entry of the
volume's metadata for each instance, there before the reservation and gone after the release. Nor
does it keep how a volume is reached: what it said is remembered while the worker lives, and asked
for anew afterwards.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import requests

from worker.errors import (
    AttachmentNotFound,
    VolumeInUse,
    VolumeNotFound,
)
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, InstanceId, VolumeId
from worker.model.volume import Attachment
from worker.ports import Attachments
from worker.volume.cinder.claims import (
    CLAIM,
    EXPORTED,
    RESERVED,
    Seen,
    attachment_id,
    instances_in,
    seen_in,
)
from worker.volume.cinder.faults import CinderRefused, of_letting_go, of_volume, understood
from worker.volume.cinder.reading import Said, connection_in
from worker.volume.cinder.session import CinderSession

NOWHERE = "na"
"""Cinder's own word for a device name that it is not told."""

LETS_GO = frozenset({"os-terminate_connection", "os-detach"})
"""The actions that Cinder lets only a service ask for."""


class LegacyAttachments(Attachments):
    """Attachments that are the worker's own idea of what Cinder's volumes say."""

    def __init__(
        self, session: CinderSession, *, connector: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Ask by the session; ``connector`` says who lets go of an export."""
        self._session = session
        self._connector = connector
        self._known: dict[AttachmentId, tuple[VolumeId, InstanceId]] = {}
        self._connections: dict[AttachmentId, Connection] = {}

    def get(self, attachment: AttachmentId) -> Attachment:
        """Return the attachment; raises AttachmentNotFound, VolumeServiceUnavailable.

        One that this worker has not heard of since its start is looked for in every volume.
        """
        return self._attachment(self._held(attachment))

    def find(self, volume: VolumeId, instance: InstanceId) -> Attachment | None:
        """Return the attachment of the volume to the instance, if there is one."""
        try:
            seen = self._look(volume, instance)
        except VolumeNotFound:
            return None
        return self._attachment(seen) if seen.held else None

    def of_instance(self, instance: InstanceId) -> tuple[Attachment, ...]:
        """Return every attachment of the instance: each volume there is, is looked at."""
        seen = (seen_in(said, instance) for said in self._every_volume())
        return tuple(self._attachment(one) for one in seen if one.held)

    def create(self, volume: VolumeId, instance: InstanceId) -> Attachment:
        """Reserve the volume for the instance; raises VolumeNotFound, VolumeInUse."""
        seen = self._look(volume, instance)
        if seen.held:
            return self._attachment(seen)
        self._claim(volume, instance, RESERVED)
        try:
            self._act(volume, "os-reserve")
        except VolumeInUse:
            self._disclaim(volume, instance)
            raise
        seen = self._look(volume, instance)
        for late in seen.others:
            # Cinder has just said whose it is.
            self._disclaim(volume, late)
        return self._attachment(seen)

    def connect(self, attachment: AttachmentId, connector: Mapping[str, Any]) -> Connection:
        """Export the volume to the host; return how to reach it.

        Raises AttachmentNotFound, VolumeInUse, RequestMalformed.
        """
        seen = self._held(attachment)
        if attachment in self._connections:
            return self._connections[attachment]
        self._claim(seen.volume, seen.instance, EXPORTED)
        given = {"connector": dict(connector)}
        said = self._act(seen.volume, "os-initialize_connection", given)
        with understood():
            # Pressed to one level, as attachments have it, and read like one of them.
            info = {**said["connection_info"], **said["connection_info"]["data"]}
            made = connection_in(info, multiattach=seen.shared)
        self._connections[attachment] = made
        return made

    def complete(self, attachment: AttachmentId) -> None:
        """Report the volume as in use; raises AttachmentNotFound, VolumeInUse."""
        seen = self._held(attachment)
        if seen.entry is not None:
            return
        said = self._connections.get(attachment)
        mode = "rw" if said is None else said.properties.get("access_mode", "rw")
        given = {"instance_uuid": seen.instance, "mountpoint": NOWHERE, "mode": mode}
        self._act(seen.volume, "os-attach", given)

    def delete(self, attachment: AttachmentId) -> None:
        """Withdraw the export and let go of the volume; an unknown one is fine."""
        try:
            seen = self._held(attachment)
        except AttachmentNotFound:
            return
        with suppress(VolumeNotFound):
            self._let_go(seen)
        self._connections.pop(attachment, None)
        self._known.pop(attachment, None)

    def _let_go(self, seen: Seen) -> None:
        if seen.claim == EXPORTED or seen.entry is not None:
            given = {"connector": dict(self._connector())}
            self._act(seen.volume, "os-terminate_connection", given)
        if seen.entry is not None:
            self._act(seen.volume, "os-detach", {"attachment_id": seen.entry})
        else:
            self._act(seen.volume, "os-unreserve")
        self._disclaim(seen.volume, seen.instance)

    def _attachment(self, seen: Seen) -> Attachment:
        found = attachment_id(seen.volume, seen.instance)
        self._known[found] = (seen.volume, seen.instance)
        return Attachment(
            id=found,
            volume=seen.volume,
            instance=seen.instance,
            status=seen.status,
            connection=self._connections.get(found),
        )

    def _held(self, attachment: AttachmentId) -> Seen:
        where = self._known.get(attachment) or self._searched(attachment)
        try:
            seen = None if where is None else self._look(*where)
        except VolumeNotFound:
            seen = None
        if seen is None or not seen.held:
            raise AttachmentNotFound(f"no volume of Cinder's is held by {attachment}")
        return seen

    def _searched(self, attachment: AttachmentId) -> tuple[VolumeId, InstanceId] | None:
        for said in self._every_volume():
            for instance in instances_in(said):
                if attachment_id(said["id"], instance) == attachment:
                    return said["id"], instance
        return None

    def _look(self, volume: VolumeId, instance: InstanceId) -> Seen:
        said = self._ask("GET", volume)
        with understood():
            return seen_in(said["volume"], instance)

    def _every_volume(self) -> Iterator[Said]:
        query = {"all_tenants": "1"}
        while True:
            said = self._session.ask("GET", "/volumes/detail", query=query)
            with understood():
                page: list[Said] = list(said["volumes"])
            if not page:
                return
            yield from page
            query["marker"] = page[-1]["id"]

    def _claim(self, volume: VolumeId, instance: InstanceId, word: str) -> None:
        self._ask("POST", volume, "/metadata", {"metadata": {f"{CLAIM}{instance}": word}})

    def _disclaim(self, volume: VolumeId, instance: InstanceId) -> None:
        try:
            self._ask("DELETE", volume, f"/metadata/{CLAIM}{instance}")
        except VolumeNotFound:
            # Of the volume or of the claim: neither is there any more.
            return

    def _act(self, volume: VolumeId, action: str, given: Mapping[str, Any] | None = None) -> Said:
        return self._ask("POST", volume, "/action", {action: given or {}})

    def _ask(self, method: str, volume: VolumeId, what: str = "", body: Said | None = None) -> Said:
        try:
            return self._session.ask(method, f"/volumes/{volume}{what}", body)
        except CinderRefused as error:
            raise _refusal(error, volume, body or {}) from error


def _refusal(error: CinderRefused, volume: VolumeId, body: Said) -> Exception:
    if error.status == requests.codes.conflict and LETS_GO & set(body):
        return of_letting_go(error)
    return of_volume(error, volume)
