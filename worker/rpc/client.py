"""What an API tier imports: each method of the table as a method, errors as ``worker.errors``.

Every method has the host first. Calls return plain JSON (docs/bus.md says what is in it).
Operations return their ``operation_id`` as soon as the broker has them; their end is told as an
update, and ``wait_for`` asks for it.
"""

import time
from datetime import datetime
from typing import Any, Self, TypedDict, Unpack

from worker.errors import NoAnswer, OperationNotFound, WorkerError, WorkerUnreachable
from worker.model.ids import new_uuid
from worker.model.operation import OperationState
from worker.rpc.bus import BusSettings
from worker.rpc.caller import Caller
from worker.rpc.hearing import Hearing

Json = dict[str, Any]


class Sending(TypedDict, total=False):
    """What each operation may be given beside its arguments.

    The id is drawn when none is given. One that has not begun at ``expires_at`` never will.
    """

    operation_id: str | None
    expires_at: datetime | None
    request_id: str | None


class Client:
    """A worker's methods, for any host on one bus; may be shared by threads."""

    def __init__(
        self,
        url: str,
        *,
        quorum: bool = True,
        name: str = "blockworker",
        timeout: float = 10.0,
        reach: float = 1.8,
        reservation_tries: int = 3,
    ) -> None:
        """Reach the bus at oslo.messaging's transport ``url``; times in seconds.

        ``reach`` is how long a worker may take to show that it is there at all.
        """
        self._settings = BusSettings(
            url=url, host="client", quorum=quorum, name=name, connect_timeout=reach
        )
        self._tries = reservation_tries
        self._caller = Caller(self._settings, timeout=timeout, reach=reach)

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close its connections."""
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._caller.close()

    def call(
        self,
        host: str,
        method: str,
        *,
        request_id: str | None = None,
        **arguments: Any,  # noqa: ANN401 - plain JSON
    ) -> Any:  # noqa: ANN401
        """Call any method by name and return its answer.

        An operation (give it an ``operation_id``) is answered as accepted, once the journal has
        it. Raises what the worker answers; WorkerUnreachable within ``reach`` when none listens
        there; NoAnswer when one does but the answer did not come; BrokerUnavailable.
        """
        return self._caller.call(host, method, arguments, request_id)

    def cast(
        self,
        host: str,
        method: str,
        *,
        operation_id: str | None = None,
        expires_at: datetime | None = None,
        request_id: str | None = None,
        **arguments: Any,  # noqa: ANN401 - plain JSON
    ) -> str:
        """Send any operation by name; return its id, drawn here unless it is given.

        Sent again with the same id it changes nothing. Raises WorkerUnreachable within ``reach``
        when none listens there; BrokerUnavailable.
        """
        drawn = operation_id or new_uuid()
        arguments["operation_id"] = drawn
        if expires_at is not None:
            arguments["expires_at"] = expires_at.isoformat()
        self._caller.cast(host, method, arguments, request_id)
        return drawn

    def wait_for(
        self, host: str, operation_id: str, *, seconds: float = 60.0, every: float = 0.2
    ) -> Json:
        """Return the operation once it has ended; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                found = self.get_operation(host, operation_id=operation_id)
            except (OperationNotFound, WorkerError, WorkerUnreachable):
                # Still on its way to the journal, or the worker is being started again.
                found = None
            if found is not None and OperationState(found["state"]).ended:
                return found
            time.sleep(every)
        message = f"operation {operation_id} has not ended within {seconds} s"
        raise TimeoutError(message)

    def updates(self) -> Hearing:
        """Return what hears the updates of all hosts, from ``with`` on."""
        return Hearing(self._settings)

    def ping(self, host: str) -> Json:
        """Return the worker's host and time."""
        return _mapping(self.call(host, "ping"))

    def reserve_block_device_name(
        self,
        host: str,
        *,
        instance_uuid: str,
        volume_id: str,
        bdm_uuid: str | None = None,
        device: str | None = None,
        disk_bus: str | None = None,
        device_type: str | None = None,
        tag: str | None = None,
        multiattach: bool = False,
        delete_on_termination: bool = False,
        request_id: str | None = None,
    ) -> Json:
        """Return a new block device, reserved; asked again when no answer came, never doubled."""
        arguments = {
            "instance_uuid": instance_uuid,
            "volume_id": volume_id,
            "bdm_uuid": bdm_uuid or new_uuid(),
            "device": device,
            "disk_bus": disk_bus,
            "device_type": device_type,
            "tag": tag,
            "multiattach": multiattach,
            "delete_on_termination": delete_on_termination,
        }
        for _ in range(self._tries - 1):
            try:
                return self._reserve(host, request_id, arguments)
            except NoAnswer:
                continue
        return self._reserve(host, request_id, arguments)

    def _reserve(self, host: str, request_id: str | None, arguments: Json) -> Json:
        return _mapping(
            self.call(host, "reserve_block_device_name", request_id=request_id, **arguments)
        )

    def release_block_device(self, host: str, *, bdm_uuid: str) -> Json:
        """Give a reservation back; return the device."""
        return _mapping(self.call(host, "release_block_device", bdm_uuid=bdm_uuid))

    def list_block_devices(self, host: str, *, instance_uuid: str) -> list[Json]:
        """Return the live block devices of an instance."""
        return _list(self.call(host, "list_block_devices", instance_uuid=instance_uuid))

    def get_block_device(self, host: str, *, instance_uuid: str, volume_id: str) -> Json:
        """Return the live block device of a volume on an instance."""
        return _mapping(
            self.call(host, "get_block_device", instance_uuid=instance_uuid, volume_id=volume_id)
        )

    def get_device_metadata(self, host: str, *, instance_uuid: str) -> list[Json]:
        """Return the tagged disks of an instance as its user finds them in the guest."""
        return _list(self.call(host, "get_device_metadata", instance_uuid=instance_uuid))

    def get_volume_connector(self, host: str) -> Json:
        """Return how the host presents itself to a volume service."""
        return _mapping(self.call(host, "get_volume_connector"))

    def get_operation(self, host: str, *, operation_id: str) -> Json:
        """Return one operation with its steps."""
        return _mapping(self.call(host, "get_operation", operation_id=operation_id))

    def list_operations(
        self,
        host: str,
        *,
        instance_uuid: str | None = None,
        state: str | None = None,
        limit: int = 100,
    ) -> list[Json]:
        """Return operations without their steps, newest first."""
        return _list(
            self.call(
                host, "list_operations", instance_uuid=instance_uuid, state=state, limit=limit
            )
        )

    def retry_operation(self, host: str, *, operation_id: str) -> Json:
        """Have a stuck operation run again from where it stands; return it as it is then."""
        return _mapping(self.call(host, "retry_operation", operation_id=operation_id))

    def abandon_operation(self, host: str, *, operation_id: str) -> Json:
        """Give a stuck operation up; return it, with a ``message`` that says what was decided."""
        return _mapping(self.call(host, "abandon_operation", operation_id=operation_id))

    def find_drift(
        self, host: str, *, instance_uuid: str | None = None, qemu: bool = False
    ) -> Json:
        """Return where the views of the block devices differ, with what a repair would do."""
        found = self.call(host, "find_drift", instance_uuid=instance_uuid, qemu=qemu)
        return _mapping(found)

    def list_instances(self, host: str) -> list[Json]:
        """Return the instances in the worker's care."""
        return _list(self.call(host, "list_instances"))

    def get_instance(self, host: str, *, instance_uuid: str) -> Json:
        """Return one instance."""
        return _mapping(self.call(host, "get_instance", instance_uuid=instance_uuid))

    def adopt_instance(self, host: str, *, domain: str, dry_run: bool = False) -> Json:
        """Take a libvirt domain into the worker's care; return the instance and its disks."""
        return _mapping(self.call(host, "adopt_instance", domain=domain, dry_run=dry_run))

    def export_instance(self, host: str, *, instance_uuid: str) -> Json:
        """Return what another host's worker needs to take a stopped instance over."""
        return _mapping(self.call(host, "export_instance", instance_uuid=instance_uuid))

    def check_import(self, host: str, *, document: str) -> Json:
        """Return what ``import_instance`` would take in; raises what it would end with."""
        return _mapping(self.call(host, "check_import", document=document))

    def list_volumes(self, host: str) -> list[Json]:
        """Return the volumes of the pool."""
        return _list(self.call(host, "list_volumes"))

    def get_volume(self, host: str, *, volume_id: str) -> Json:
        """Return one volume."""
        return _mapping(self.call(host, "get_volume", volume_id=volume_id))

    def attach_volume(
        self,
        host: str,
        *,
        instance_uuid: str,
        bdm_uuid: str,
        attachment_id: str | None = None,
        **sending: Unpack[Sending],
    ) -> str:
        """Make a reserved volume visible in its instance."""
        return self.cast(
            host,
            "attach_volume",
            instance_uuid=instance_uuid,
            bdm_uuid=bdm_uuid,
            attachment_id=attachment_id,
            **sending,
        )

    def detach_volume(
        self,
        host: str,
        *,
        instance_uuid: str,
        volume_id: str,
        bdm_uuid: str | None = None,
        attachment_id: str | None = None,
        force: bool = False,
        **sending: Unpack[Sending],
    ) -> str:
        """Take a volume out of its instance; without ``bdm_uuid`` the one that is there now."""
        return self.cast(
            host,
            "detach_volume",
            instance_uuid=instance_uuid,
            volume_id=volume_id,
            bdm_uuid=bdm_uuid,
            attachment_id=attachment_id,
            force=force,
            **sending,
        )

    def create_volume(
        self,
        host: str,
        *,
        volume_id: str,
        size: int | None = None,
        path: str | None = None,
        name: str = "",
        multiattach: bool = False,
        **sending: Unpack[Sending],
    ) -> str:
        """Make a volume of ``size`` bytes in the pool, or take the file at ``path`` as one."""
        return self.cast(
            host,
            "create_volume",
            volume_id=volume_id,
            size=size,
            path=path,
            name=name,
            multiattach=multiattach,
            **sending,
        )

    def forget_instance(self, host: str, *, instance_uuid: str, **sending: Unpack[Sending]) -> str:
        """Let an adopted instance go as it came, or one that moved to another host."""
        return self.cast(host, "forget_instance", instance_uuid=instance_uuid, **sending)

    def release_instance(self, host: str, *, instance_uuid: str, **sending: Unpack[Sending]) -> str:
        """Give up an exported instance's domain and connections, for another host to have them."""
        return self.cast(host, "release_instance", instance_uuid=instance_uuid, **sending)

    def import_instance(
        self, host: str, *, instance_uuid: str, document: str, **sending: Unpack[Sending]
    ) -> str:
        """Take in an instance; ``document`` is what its export has answered, as JSON."""
        return self.cast(
            host, "import_instance", instance_uuid=instance_uuid, document=document, **sending
        )

    def build_instance(
        self,
        host: str,
        *,
        instance_uuid: str,
        name: str,
        vcpus: int,
        memory_mb: int,
        operation_id: str | None = None,
        expires_at: datetime | None = None,
        request_id: str | None = None,
        **wanted: Any,  # noqa: ANN401 - plain JSON
    ) -> str:
        """Build an instance and start it; docs/instances.md has the rest of its arguments."""
        return self.cast(
            host,
            "build_instance",
            operation_id=operation_id,
            expires_at=expires_at,
            request_id=request_id,
            instance_uuid=instance_uuid,
            name=name,
            vcpus=vcpus,
            memory_mb=memory_mb,
            **wanted,
        )

    def destroy_instance(self, host: str, *, instance_uuid: str, **sending: Unpack[Sending]) -> str:
        """Take an instance away for good, its local disks too."""
        return self.cast(host, "destroy_instance", instance_uuid=instance_uuid, **sending)

    def start_instance(self, host: str, *, instance_uuid: str, **sending: Unpack[Sending]) -> str:
        """Start the guest, its volumes connected anew."""
        return self.cast(host, "start_instance", instance_uuid=instance_uuid, **sending)

    def stop_instance(
        self,
        host: str,
        *,
        instance_uuid: str,
        clean_shutdown: bool = True,
        timeout: int | None = None,
        **sending: Unpack[Sending],
    ) -> str:
        """Have the guest off; it is asked first, unless told otherwise, for ``timeout`` seconds."""
        return self.cast(
            host,
            "stop_instance",
            instance_uuid=instance_uuid,
            clean_shutdown=clean_shutdown,
            timeout=timeout,
            **sending,
        )

    def reboot_instance(
        self, host: str, *, instance_uuid: str, hard: bool = False, **sending: Unpack[Sending]
    ) -> str:
        """Have the guest off and start it anew; with ``hard`` it is not asked."""
        return self.cast(host, "reboot_instance", instance_uuid=instance_uuid, hard=hard, **sending)

    def repair_drift(
        self, host: str, *, instance_uuid: str, qemu: bool = False, **sending: Unpack[Sending]
    ) -> str:
        """Mend what ``find_drift`` offers to mend on one instance."""
        return self.cast(host, "repair_drift", instance_uuid=instance_uuid, qemu=qemu, **sending)

    def delete_volume(self, host: str, *, volume_id: str, **sending: Unpack[Sending]) -> str:
        """Forget a volume of the pool, and its file if the pool made it."""
        return self.cast(host, "delete_volume", volume_id=volume_id, **sending)


def _mapping(answer: Any) -> Json:  # noqa: ANN401 - off the wire
    if not isinstance(answer, dict):
        raise WorkerError("the answer is no mapping")
    return answer


def _list(answer: Any) -> list[Json]:  # noqa: ANN401 - off the wire
    if not isinstance(answer, list):
        raise WorkerError("the answer is no list")
    return answer
