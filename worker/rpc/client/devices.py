"""Block devices and volumes, as a client asks for them."""

from collections.abc import Mapping
from typing import Unpack

from worker.errors import NoAnswer
from worker.model.ids import new_uuid
from worker.rpc.client.sender import Json, Sender, Sending, listed, mapping


class DeviceMethods(Sender):
    """What is asked of a worker about disks."""

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
        return mapping(
            self.call(host, "reserve_block_device_name", request_id=request_id, **arguments)
        )

    def release_block_device(self, host: str, *, bdm_uuid: str) -> Json:
        """Give a reservation back; return the device."""
        return mapping(self.call(host, "release_block_device", bdm_uuid=bdm_uuid))

    def list_block_devices(self, host: str, *, instance_uuid: str) -> list[Json]:
        """Return the live block devices of an instance."""
        return listed(self.call(host, "list_block_devices", instance_uuid=instance_uuid))

    def get_block_device(self, host: str, *, instance_uuid: str, volume_id: str) -> Json:
        """Return the live block device of a volume on an instance."""
        return mapping(
            self.call(host, "get_block_device", instance_uuid=instance_uuid, volume_id=volume_id)
        )

    def get_device_metadata(self, host: str, *, instance_uuid: str) -> list[Json]:
        """Return the tagged disks of an instance as its user finds them in the guest."""
        return listed(self.call(host, "get_device_metadata", instance_uuid=instance_uuid))

    def get_volume_connector(self, host: str) -> Json:
        """Return how the host presents itself to a volume service."""
        return mapping(self.call(host, "get_volume_connector"))

    def list_volumes(self, host: str) -> list[Json]:
        """Return the volumes of the pool."""
        return listed(self.call(host, "list_volumes"))

    def get_volume(self, host: str, *, volume_id: str) -> Json:
        """Return one volume."""
        return mapping(self.call(host, "get_volume", volume_id=volume_id))

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

    def extend_volume(
        self,
        host: str,
        *,
        instance_uuid: str,
        bdm_uuid: str,
        new_size: int,
        grow: bool = False,
        **sending: Unpack[Sending],
    ) -> str:
        """Have an instance see that its volume was extended to ``new_size`` bytes.

        With ``grow`` the built-in pool makes it that large first.
        """
        return self.cast(
            host,
            "extend_volume",
            instance_uuid=instance_uuid,
            bdm_uuid=bdm_uuid,
            new_size=new_size,
            **({"grow": True} if grow else {}),
            **sending,
        )

    def swap_volume(
        self,
        host: str,
        *,
        instance_uuid: str,
        bdm_uuid: str,
        new_volume_id: str,
        new_attachment_id: str | None = None,
        **sending: Unpack[Sending],
    ) -> str:
        """Have a running guest go on with another volume, to which its disk is copied."""
        return self.cast(
            host,
            "swap_volume",
            instance_uuid=instance_uuid,
            bdm_uuid=bdm_uuid,
            new_volume_id=new_volume_id,
            new_attachment_id=new_attachment_id,
            **sending,
        )

    def update_block_device(
        self,
        host: str,
        *,
        instance_uuid: str,
        bdm_uuid: str,
        delete_on_termination: bool | None = None,
        tag: str | None = None,
        **sending: Unpack[Sending],
    ) -> str:
        """Change what is said of a block device; an empty tag takes it away."""
        return self.cast(
            host,
            "update_block_device",
            instance_uuid=instance_uuid,
            bdm_uuid=bdm_uuid,
            delete_on_termination=delete_on_termination,
            tag=tag,
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
        encrypted: bool = False,
        qos_specs: Mapping[str, str] | None = None,
        discard: bool = False,
        logical_block_size: int | None = None,
        physical_block_size: int | None = None,
        project_id: str | None = None,
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
            encrypted=encrypted,
            qos_specs=dict(qos_specs or {}),
            discard=discard,
            logical_block_size=logical_block_size,
            physical_block_size=physical_block_size,
            project_id=project_id,
            **sending,
        )

    def grow_volume(
        self, host: str, *, volume_id: str, size: int, **sending: Unpack[Sending]
    ) -> str:
        """Have a volume of the pool be of ``size`` bytes, whoever has it."""
        return self.cast(host, "grow_volume", volume_id=volume_id, size=size, **sending)

    def delete_volume(self, host: str, *, volume_id: str, **sending: Unpack[Sending]) -> str:
        """Forget a volume of the pool, and its file if the pool made it."""
        return self.cast(host, "delete_volume", volume_id=volume_id, **sending)
