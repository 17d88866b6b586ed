"""Instances, as a client asks for them."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from worker.rpc.client.sender import Json, Sender, Sending, listed, mapping


class Building(Sending, total=False):
    """What a build may be given beside what it needs; what is left out is the worker's default."""

    image_ref: str | None
    root_gb: int | None
    ephemeral_gb: Sequence[int]
    swap_mb: int | None
    block_devices: Sequence[Json]
    config_drive: bool
    machine_type: str | None
    firmware: str | None
    networks: Sequence[Json]
    kernel_id: str | None
    ramdisk_id: str | None
    command_line: str | None
    metadata: Mapping[str, str]
    project_id: str | None
    user_id: str | None


class InstanceMethods(Sender):
    """What is asked of a worker about its guests."""

    def list_instances(self, host: str) -> list[Json]:
        """Return the instances in the worker's care."""
        return listed(self.call(host, "list_instances"))

    def get_instance(self, host: str, *, instance_uuid: str) -> Json:
        """Return one instance."""
        return mapping(self.call(host, "get_instance", instance_uuid=instance_uuid))

    def adopt_instance(self, host: str, *, domain: str, dry_run: bool = False) -> Json:
        """Take a libvirt domain into the worker's care; return the instance and its disks."""
        return mapping(self.call(host, "adopt_instance", domain=domain, dry_run=dry_run))

    def export_instance(self, host: str, *, instance_uuid: str) -> Json:
        """Return what another host's worker needs to take a stopped instance over.

        It says whether the instance was released; one that was not is imported by force only.
        """
        return mapping(self.call(host, "export_instance", instance_uuid=instance_uuid))

    def export_xml(self, host: str, *, instance_uuid: str, without_aliases: bool = False) -> Json:
        """Return ``domain_xml``, the persistent layout as the hypervisor writes it."""
        return mapping(
            self.call(
                host,
                "export_xml",
                instance_uuid=instance_uuid,
                without_aliases=without_aliases,
            )
        )

    def check_aliases(self, host: str, *, instance_uuid: str) -> Json:
        """Return by what each device of the instance is found, and which lack their alias."""
        return mapping(self.call(host, "check_aliases", instance_uuid=instance_uuid))

    def migrate_aliases(self, host: str, *, instance_uuid: str, **sending: Unpack[Sending]) -> str:
        """Have each device of the instance's next start bear the alias of its row."""
        return self.cast(host, "migrate_aliases", instance_uuid=instance_uuid, **sending)

    def check_import(self, host: str, *, document: str, force: bool = False) -> Json:
        """Return what ``import_instance`` would take in; raises what it would end with."""
        return mapping(self.call(host, "check_import", document=document, force=force))

    def forget_instance(self, host: str, *, instance_uuid: str, **sending: Unpack[Sending]) -> str:
        """Let an adopted instance go as it came, or one that moved to another host."""
        return self.cast(host, "forget_instance", instance_uuid=instance_uuid, **sending)

    def release_instance(self, host: str, *, instance_uuid: str, **sending: Unpack[Sending]) -> str:
        """Give up an instance's domain and connections, for another host to have them."""
        return self.cast(host, "release_instance", instance_uuid=instance_uuid, **sending)

    def import_instance(
        self,
        host: str,
        *,
        instance_uuid: str,
        document: str,
        force: bool = False,
        **sending: Unpack[Sending],
    ) -> str:
        """Take in an instance; ``document`` is what its export has answered, as JSON.

        With ``force`` its host need not have released it: for one that is dead.
        """
        return self.cast(
            host,
            "import_instance",
            instance_uuid=instance_uuid,
            document=document,
            force=force,
            **sending,
        )

    def build_instance(
        self,
        host: str,
        *,
        instance_uuid: str,
        name: str,
        vcpus: int,
        memory_mb: int,
        **building: Unpack[Building],
    ) -> str:
        """Build an instance and start it; docs/instances.md has the rest of its arguments."""
        return self.cast(
            host,
            "build_instance",
            instance_uuid=instance_uuid,
            name=name,
            vcpus=vcpus,
            memory_mb=memory_mb,
            **building,
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

    def rescue_instance(
        self,
        host: str,
        *,
        instance_uuid: str,
        rescue_image_ref: str | None = None,
        rescue_password: str | None = None,
        clean_shutdown: bool = True,
        **sending: Unpack[Sending],
    ) -> str:
        """Boot the guest from a rescue image; the password is put on its config drive."""
        return self.cast(
            host,
            "rescue_instance",
            instance_uuid=instance_uuid,
            rescue_image_ref=rescue_image_ref,
            rescue_password=rescue_password,
            clean_shutdown=clean_shutdown,
            **sending,
        )

    def unrescue_instance(
        self,
        host: str,
        *,
        instance_uuid: str,
        clean_shutdown: bool = True,
        rescue_operation: str | None = None,
        **sending: Unpack[Sending],
    ) -> str:
        """Have the guest be what it was before its rescue: that of an operation, or whichever."""
        return self.cast(
            host,
            "unrescue_instance",
            instance_uuid=instance_uuid,
            clean_shutdown=clean_shutdown,
            rescue_operation=rescue_operation,
            **sending,
        )

    def plan_rescue(
        self, host: str, *, instance_uuid: str, rescue_image_ref: str | None = None
    ) -> Json:
        """Return the disks before and in rescue; raises what the rescue would be refused with."""
        return mapping(
            self.call(
                host,
                "plan_rescue",
                instance_uuid=instance_uuid,
                rescue_image_ref=rescue_image_ref,
            )
        )
