"""Interfaces and host devices, as a client asks for them."""

from typing import Unpack

from worker.rpc.client.sender import Json, Sender, Sending, listed


class PeripheralMethods(Sender):
    """What is asked of a worker about interfaces and host devices."""

    def list_peripherals(self, host: str, *, instance_uuid: str) -> list[Json]:
        """Return the live interfaces and host devices of an instance, oldest first."""
        return listed(self.call(host, "list_peripherals", instance_uuid=instance_uuid))

    def attach_interface(
        self,
        host: str,
        *,
        instance_uuid: str,
        port_id: str,
        network: str,
        target: str | None = None,
        mac_address: str | None = None,
        model: str | None = None,
        **sending: Unpack[Sending],
    ) -> str:
        """Join an instance to a network of its host: ``bridge``, ``tap`` or ``user``."""
        return self.cast(
            host,
            "attach_interface",
            instance_uuid=instance_uuid,
            port_id=port_id,
            network=network,
            target=target,
            mac_address=mac_address,
            model=model,
            **sending,
        )

    def detach_interface(
        self,
        host: str,
        *,
        instance_uuid: str,
        port_id: str | None = None,
        peripheral_uuid: str | None = None,
        **sending: Unpack[Sending],
    ) -> str:
        """Take an interface out, named by its port, or by its row where it has none."""
        return self.cast(
            host,
            "detach_interface",
            instance_uuid=instance_uuid,
            port_id=port_id,
            peripheral_uuid=peripheral_uuid,
            **sending,
        )

    def attach_host_device(
        self, host: str, *, instance_uuid: str, host_device: str, **sending: Unpack[Sending]
    ) -> str:
        """Give an instance a device of its host, such as ``usb:046d:c52b``."""
        return self.cast(
            host,
            "attach_host_device",
            instance_uuid=instance_uuid,
            host_device=host_device,
            **sending,
        )

    def detach_host_device(
        self,
        host: str,
        *,
        instance_uuid: str,
        host_device: str | None = None,
        peripheral_uuid: str | None = None,
        **sending: Unpack[Sending],
    ) -> str:
        """Take a host device out, named as it was attached, or by its row."""
        return self.cast(
            host,
            "detach_host_device",
            instance_uuid=instance_uuid,
            host_device=host_device,
            peripheral_uuid=peripheral_uuid,
            **sending,
        )
