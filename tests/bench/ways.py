"""The two ways to attach and to detach: as the API does it, and by asking the API."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.bench.asking import Caller
from worker.model.ids import InstanceId, VolumeId, new_uuid
from worker.ports import Attachments
from worker.rpc.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A server, and the volume that is attached to it and detached."""

    server: InstanceId
    volume: VolumeId

    @property
    def url(self) -> str:
        return f"/v2.1/servers/{self.server}/os-volume_attachments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """Asks the worker itself, and the pool, as the API would."""

    client: Client
    host: str
    attachments: Attachments

    def attach(self, pair: Pair) -> str:
        """Return the operation once it is in the journal."""
        bdm, operation = new_uuid(), new_uuid()
        self.client.reserve_block_device_name(
            self.host, instance_uuid=pair.server, volume_id=pair.volume, bdm_uuid=bdm
        )
        attachment = self.attachments.create(pair.volume, pair.server)
        self.client.call(
            self.host,
            "attach_volume",
            operation_id=operation,
            expires_at=(datetime.now(UTC) + timedelta(seconds=60)).isoformat(),
            instance_uuid=pair.server,
            bdm_uuid=bdm,
            attachment_id=attachment.id,
        )
        return operation

    def detach(self, pair: Pair) -> str:
        """Return the operation once it is in the journal."""
        operation = new_uuid()
        self.client.call(
            self.host,
            "detach_volume",
            operation_id=operation,
            instance_uuid=pair.server,
            volume_id=pair.volume,
        )
        return operation


@dataclass(frozen=True, slots=True, kw_only=True)
class OverHttp:
    """Asks the API."""

    caller: Caller

    def attach(self, pair: Pair) -> str:
        """Return the operation once the request is answered."""
        wanted = {"volumeAttachment": {"volumeId": pair.volume}}
        return self.caller.operation("POST", pair.url, wanted)

    def detach(self, pair: Pair) -> str:
        """Return the operation once the request is answered."""
        return self.caller.operation("DELETE", f"{pair.url}/{pair.volume}")
