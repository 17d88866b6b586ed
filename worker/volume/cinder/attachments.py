"""Cinder, seen as records of who holds which volume.

Each of these looks before it acts: a request that was not answered may have happened, and who makes
it again must not have Cinder export a volume anew.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import requests

from worker.errors import (
    AttachmentNotFound,
    VolumeServiceUnavailable,
)
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, InstanceId, VolumeId
from worker.model.volume import Attachment, AttachmentStatus
from worker.ports import Attachments, Volumes
from worker.volume.cinder.faults import (
    CinderRefused,
    of_attachment,
    of_letting_go,
    of_volume,
    understood,
)
from worker.volume.cinder.reading import Said, attachment_of, is_connected
from worker.volume.cinder.session import CinderSession

_BY_PROGRESS = list(AttachmentStatus)


class CinderAttachments(Attachments):
    """Attachments as Cinder has them, made for any project."""

    def __init__(self, session: CinderSession, volumes: Volumes) -> None:
        """Ask by the session; ``volumes`` says which volumes take several attachments."""
        self._session = session
        self._volumes = volumes

    def get(self, attachment: AttachmentId) -> Attachment:
        """Return the attachment; raises AttachmentNotFound, VolumeServiceUnavailable."""
        return self._read(self._said(attachment))

    def find(self, volume: VolumeId, instance: InstanceId) -> Attachment | None:
        """Return the attachment of the volume to the instance, if there is one.

        Of several, as a volume has that is being moved, the one that has come furthest.
        """
        listed = self._page({"volume_id": volume, "instance_id": instance})
        held = [one for one in self._all(listed, instance) if one.volume == volume]
        return max(held, key=lambda one: (_BY_PROGRESS.index(one.status), one.id), default=None)

    def of_instance(self, instance: InstanceId) -> tuple[Attachment, ...]:
        """Return every attachment of the instance, whoever made it."""
        found: dict[str, Said] = {}
        query: dict[str, str] = {"instance_id": instance}
        # However few Cinder gives at a time: until it has no more.
        while page := [one for one in self._page(query) if one["id"] not in found]:
            found |= {one["id"]: one for one in page}
            query["marker"] = page[-1]["id"]
        return tuple(self._all(found.values(), instance))

    def create(self, volume: VolumeId, instance: InstanceId) -> Attachment:
        """Reserve the volume; an attachment that exists is returned.

        Raises VolumeNotFound, VolumeInUse for one whose state does not allow it.
        """
        found = self.find(volume, instance)
        if found is not None:
            return found
        wanted = {"volume_uuid": volume, "instance_uuid": instance}
        try:
            said = self._session.ask("POST", "/attachments", {"attachment": wanted})
        except CinderRefused as error:
            raise of_volume(error, volume) from error
        with understood():
            return attachment_of(said["attachment"], multiattach=False)

    def connect(self, attachment: AttachmentId, connector: Mapping[str, Any]) -> Connection:
        """Export the volume, unless Cinder has done that; return how to reach it.

        Raises AttachmentNotFound, VolumeInUse, RequestMalformed for a connector that the storage
        has no use for.
        """
        seen = self.get(attachment).connection
        if seen is not None:
            return seen
        try:
            self._update(attachment, connector)
        except VolumeServiceUnavailable:
            seen = self.get(attachment).connection
            if seen is None:
                raise
            return seen
        # What Cinder answers from now on has more than the answer to the update: a file's format.
        seen = self.get(attachment).connection
        if seen is None:
            raise VolumeServiceUnavailable(f"Cinder does not say how to reach {attachment}")
        return seen

    def complete(self, attachment: AttachmentId) -> None:
        """Report the volume as in use; raises AttachmentNotFound.

        One that is reported already is left alone: Cinder would end a detach that has begun.
        """
        if self._said(attachment).get("status") == AttachmentStatus.ATTACHED:
            return
        try:
            self._session.ask("POST", f"/attachments/{attachment}/action", {"os-complete": {}})
        except CinderRefused as error:
            raise of_attachment(error, attachment) from error

    def delete(self, attachment: AttachmentId) -> None:
        """Withdraw the export and forget the attachment; an unknown one is fine."""
        try:
            self._session.ask("DELETE", f"/attachments/{attachment}")
        except CinderRefused as error:
            if error.status != requests.codes.not_found:
                raise of_letting_go(error) from error

    def _update(self, attachment: AttachmentId, connector: Mapping[str, Any]) -> None:
        body = {"attachment": {"connector": dict(connector)}}
        try:
            self._session.ask("PUT", f"/attachments/{attachment}", body)
        except CinderRefused as error:
            raise of_attachment(error, attachment) from error

    def _said(self, attachment: AttachmentId) -> Said:
        try:
            said = self._session.ask("GET", f"/attachments/{attachment}")
        except CinderRefused as error:
            raise of_attachment(error, attachment) from error
        with understood():
            found: Said = said["attachment"]
            return found

    def _read(self, said: Said) -> Attachment:
        with understood():
            connected, volume = is_connected(said), VolumeId(said["volume_id"])
        several = connected and self._volumes.show(volume).multiattach
        with understood():
            return attachment_of(said, multiattach=several)

    def _all(self, listed: Iterable[Said], instance: InstanceId) -> Iterator[Attachment]:
        """A list leaves out parts of a connection; an attachment may have gone since."""
        for one in listed:
            with suppress(AttachmentNotFound):
                found = self.get(AttachmentId(one["id"]))
                # Looked at again: a Cinder that does not know a filter may leave it out.
                if found.instance == instance:
                    yield found

    def _page(self, query: Mapping[str, str]) -> list[Said]:
        said = self._session.ask("GET", "/attachments", query={"all_tenants": "1", **query})
        with understood():
            return [{"id": str(one["id"])} for one in said["attachments"]]
