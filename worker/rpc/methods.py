"""The whole interface as one table: every method, its request, and the handler that serves it.

A new method is a file in ``handlers/``, its request beside its handler, and a line here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from worker.execution import Kind, Scope
from worker.handlers.abandon_operation import AbandonOperation, abandon_operation
from worker.handlers.adopt_instance import AdoptInstance, adopt_instance
from worker.handlers.attach_host_device import AttachHostDevice, attach_host_device
from worker.handlers.attach_interface import AttachInterface, attach_interface
from worker.handlers.attach_volume import AttachVolume, attach_volume, give_reservation_back
from worker.handlers.build_instance import BuildInstance, build_instance
from worker.handlers.cancel_operation import CancelOperation, cancel_operation
from worker.handlers.check_aliases import CheckAliases, check_aliases
from worker.handlers.check_import import CheckImport, check_import
from worker.handlers.complete_adoption import CompleteAdoption, complete_adoption
from worker.handlers.create_volume import CreateVolume, create_volume
from worker.handlers.delete_volume import DeleteVolume, delete_volume
from worker.handlers.destroy_instance import DestroyInstance, destroy_instance
from worker.handlers.detach_host_device import (
    DetachHostDevice,
    detach_host_device,
    name_the_host_device,
)
from worker.handlers.detach_interface import DetachInterface, detach_interface, name_the_interface
from worker.handlers.detach_volume import DetachVolume, detach_volume, name_the_row
from worker.handlers.export_instance import ExportInstance, export_instance
from worker.handlers.export_xml import ExportXml, export_xml
from worker.handlers.extend_volume import ExtendVolume, extend_volume
from worker.handlers.find_drift import FindDrift, find_drift
from worker.handlers.find_residue import FindResidue, find_residue
from worker.handlers.forget_instance import ForgetInstance, forget_instance
from worker.handlers.get_block_device import GetBlockDevice, get_block_device
from worker.handlers.get_device_metadata import GetDeviceMetadata, get_device_metadata
from worker.handlers.get_instance import GetInstance, get_instance
from worker.handlers.get_operation import GetOperation, get_operation
from worker.handlers.get_volume import GetVolume, get_volume
from worker.handlers.get_volume_connector import GetVolumeConnector, get_volume_connector
from worker.handlers.grow_volume import GrowVolume, grow_volume
from worker.handlers.heal_ghost import HealGhost, heal_ghost
from worker.handlers.import_instance import ImportInstance, import_instance
from worker.handlers.list_block_devices import ListBlockDevices, list_block_devices
from worker.handlers.list_instances import ListInstances, list_instances
from worker.handlers.list_operations import ListOperations, list_operations
from worker.handlers.list_peripherals import ListPeripherals, list_peripherals
from worker.handlers.list_volumes import ListVolumes, list_volumes
from worker.handlers.migrate_aliases import MigrateAliases, migrate_aliases
from worker.handlers.ping import Ping, ping
from worker.handlers.plan_rescue import PlanRescue, plan_rescue
from worker.handlers.reboot_instance import RebootInstance, reboot_instance
from worker.handlers.release_block_device import ReleaseBlockDevice, release_block_device
from worker.handlers.release_instance import ReleaseInstance, release_instance
from worker.handlers.release_lapsed_reservation import (
    ReleaseLapsedReservation,
    release_lapsed_reservation,
)
from worker.handlers.repair_drift import RepairDrift, repair_drift
from worker.handlers.rescue_instance import RescueInstance, rescue_instance
from worker.handlers.reserve_block_device_name import (
    ReserveBlockDeviceName,
    reserve_block_device_name,
)
from worker.handlers.resume_instance import ResumeInstance, resume_instance
from worker.handlers.retry_operation import RetryOperation, retry_operation
from worker.handlers.return_volume import ReturnVolume, return_volume
from worker.handlers.start_instance import StartInstance, start_instance
from worker.handlers.stop_instance import StopInstance, stop_instance
from worker.handlers.swap_volume import SwapVolume, swap_volume
from worker.handlers.sync_power_state import SyncPowerState, sync_power_state
from worker.handlers.unrescue_instance import UnrescueInstance, unrescue_instance
from worker.handlers.update_block_device import UpdateBlockDevice, update_block_device
from worker.model import update
from worker.model.instance import TaskState
from worker.model.peripheral import row_made_by
from worker.ports import Ports

VERSION = "1.0"
"""The RPC version spoken; a message may ask for any 1.x up to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A method that answers at once; its handler returns plain JSON.

    That of one that ``resumes`` returns an operation of the journal instead: it is run, in its
    lane, and is the answer. That of one that ``begins`` returns its answer together with the
    operation, if any, that it has put into the journal.
    """

    request: type[Any]
    handler: Callable[[Any, Ports], Any]
    resumes: bool = False
    begins: bool = False


def _phases_of(method: str) -> update.Phases | None:
    return OPERATIONS[method].phases


def _cancellable() -> frozenset[str]:
    return frozenset(method for method, kind in OPERATIONS.items() if kind.unhurried)


def _always(state: TaskState) -> Callable[[Mapping[str, Any]], TaskState]:
    return lambda _arguments: state


def _rebooting(arguments: Mapping[str, Any]) -> TaskState:
    return TaskState.REBOOTING_HARD if arguments.get("hard") else TaskState.REBOOTING


CALLS: Mapping[str, Call] = {
    "reserve_block_device_name": Call(
        request=ReserveBlockDeviceName, handler=reserve_block_device_name
    ),
    "release_block_device": Call(request=ReleaseBlockDevice, handler=release_block_device),
    "list_block_devices": Call(request=ListBlockDevices, handler=list_block_devices),
    "list_peripherals": Call(request=ListPeripherals, handler=list_peripherals),
    "get_block_device": Call(request=GetBlockDevice, handler=get_block_device),
    "get_device_metadata": Call(request=GetDeviceMetadata, handler=get_device_metadata),
    "get_volume_connector": Call(request=GetVolumeConnector, handler=get_volume_connector),
    "get_operation": Call(request=GetOperation, handler=get_operation),
    "list_operations": Call(request=ListOperations, handler=list_operations),
    "retry_operation": Call(request=RetryOperation, handler=retry_operation, resumes=True),
    "abandon_operation": Call(
        request=AbandonOperation, handler=partial(abandon_operation, phases_of=_phases_of)
    ),
    "cancel_operation": Call(
        request=CancelOperation,
        handler=lambda request, ports: cancel_operation(request, ports, cancellable=_cancellable()),
    ),
    "list_instances": Call(request=ListInstances, handler=list_instances),
    "get_instance": Call(request=GetInstance, handler=get_instance),
    "adopt_instance": Call(request=AdoptInstance, handler=adopt_instance, begins=True),
    "export_instance": Call(request=ExportInstance, handler=export_instance),
    "export_xml": Call(request=ExportXml, handler=export_xml),
    "check_aliases": Call(request=CheckAliases, handler=check_aliases),
    "check_import": Call(request=CheckImport, handler=check_import),
    "plan_rescue": Call(request=PlanRescue, handler=plan_rescue),
    "find_drift": Call(request=FindDrift, handler=find_drift),
    "find_residue": Call(request=FindResidue, handler=find_residue),
    "list_volumes": Call(request=ListVolumes, handler=list_volumes),
    "get_volume": Call(request=GetVolume, handler=get_volume),
    "ping": Call(request=Ping, handler=ping),
}

_whole = partial(Kind, blocks=Scope.INSTANCE)
"""One that keeps the whole instance from others while it is stuck."""

OPERATIONS: Mapping[str, Kind] = {
    "attach_volume": Kind(
        request=AttachVolume,
        handler=attach_volume,
        phases=update.ATTACH_PHASES,
        refused=give_reservation_back,
    ),
    "detach_volume": Kind(
        request=DetachVolume, handler=detach_volume, phases=update.DETACH_PHASES, pin=name_the_row
    ),
    "extend_volume": Kind(request=ExtendVolume, handler=extend_volume, phases=update.EXTEND_PHASES),
    "update_block_device": Kind(
        request=UpdateBlockDevice, handler=update_block_device, phases=update.UPDATE_PHASES
    ),
    "swap_volume": Kind(
        request=SwapVolume, handler=swap_volume, phases=update.SWAP_PHASES, unhurried=True
    ),
    "attach_interface": Kind(
        request=AttachInterface,
        handler=attach_interface,
        phases=update.INTERFACE_ATTACH_PHASES,
        makes=row_made_by,
    ),
    "detach_interface": Kind(
        request=DetachInterface,
        handler=detach_interface,
        phases=update.INTERFACE_DETACH_PHASES,
        row="peripheral_uuid",
        pin=name_the_interface,
    ),
    "attach_host_device": Kind(
        request=AttachHostDevice,
        handler=attach_host_device,
        phases=update.HOST_DEVICE_ATTACH_PHASES,
        makes=row_made_by,
    ),
    "detach_host_device": Kind(
        request=DetachHostDevice,
        handler=detach_host_device,
        phases=update.HOST_DEVICE_DETACH_PHASES,
        row="peripheral_uuid",
        pin=name_the_host_device,
    ),
    "build_instance": _whole(
        request=BuildInstance, handler=build_instance, phases=update.BUILD_PHASES
    ),
    "destroy_instance": _whole(
        request=DestroyInstance,
        handler=partial(destroy_instance, phases_of=_phases_of),
        phases=update.DESTROY_PHASES,
        unblocked=True,
    ),
    "start_instance": _whole(
        request=StartInstance,
        handler=start_instance,
        phases=update.START_PHASES,
        task=_always(TaskState.POWERING_ON),
    ),
    "stop_instance": _whole(
        request=StopInstance,
        handler=stop_instance,
        phases=update.STOP_PHASES,
        task=_always(TaskState.POWERING_OFF),
    ),
    "reboot_instance": _whole(
        request=RebootInstance,
        handler=reboot_instance,
        phases=update.REBOOT_PHASES,
        task=_rebooting,
    ),
    "rescue_instance": _whole(
        request=RescueInstance,
        handler=rescue_instance,
        phases=update.RESCUE_PHASES,
        task=_always(TaskState.RESCUING),
    ),
    "unrescue_instance": _whole(
        request=UnrescueInstance,
        handler=unrescue_instance,
        phases=update.UNRESCUE_PHASES,
        task=_always(TaskState.UNRESCUING),
    ),
    "resume_instance": _whole(
        request=ResumeInstance,
        handler=resume_instance,
        phases=update.START_PHASES,
        own_only=True,
        task=_always(TaskState.POWERING_ON),
    ),
    "return_volume": Kind(request=ReturnVolume, handler=return_volume, own_only=True),
    "complete_adoption": _whole(
        request=CompleteAdoption,
        handler=complete_adoption,
        phases=update.ADOPT_PHASES,
        own_only=True,
    ),
    "forget_instance": _whole(
        request=ForgetInstance, handler=forget_instance, phases=update.FORGET_PHASES
    ),
    "release_instance": _whole(
        request=ReleaseInstance, handler=release_instance, phases=update.RELEASE_PHASES
    ),
    "import_instance": _whole(
        request=ImportInstance, handler=import_instance, phases=update.IMPORT_PHASES
    ),
    "repair_drift": Kind(request=RepairDrift, handler=repair_drift),
    "migrate_aliases": Kind(request=MigrateAliases, handler=migrate_aliases),
    "create_volume": Kind(request=CreateVolume, handler=create_volume),
    "delete_volume": Kind(request=DeleteVolume, handler=delete_volume),
    "grow_volume": Kind(request=GrowVolume, handler=grow_volume),
    "sync_power_state": Kind(
        request=SyncPowerState, handler=sync_power_state, own_only=True, unblocked=True
    ),
    "release_lapsed_reservation": Kind(
        request=ReleaseLapsedReservation, handler=release_lapsed_reservation, own_only=True
    ),
    "heal_ghost": Kind(request=HealGhost, handler=heal_ghost, own_only=True, unblocked=True),
}
