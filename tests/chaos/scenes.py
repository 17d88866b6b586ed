"""The scenes of the matrix, as one table: an operation joins it by one entry."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import libvirt

from tests.chaos import (
    built_moves,
    extends,
    given_back,
    instances,
    moves,
    peripherals,
    rescue_views,
    rescues,
    swaps,
)
from tests.chaos.stage import Case, Stage
from tests.chaos.views import Views, attached, differences, gone, select_all
from tests.guests import BOOT_TIMEOUT
from worker.execution import Kind
from worker.model.rescue.words import Mode
from worker.model.update import Event
from worker.persistence.schema import BLOCK_DEVICES, UPDATES
from worker.rpc.methods import OPERATIONS
from worker.virt.xml.marks import without_aliases

STOPS_WITHIN = 40
"""Seconds; the guest takes one, on a machine that does nothing else."""


def detach(stage: Stage, case: Case) -> None:
    """Take the volume away again; that this works is part of the proof."""
    (row,) = select_all(stage, BLOCK_DEVICES, BLOCK_DEVICES.c.uuid == case.row["uuid"])
    if not row["deleted"]:
        stage.run(
            "detach_volume",
            instance_uuid=case.guest.uuid,
            volume_id=case.volume,
            bdm_uuid=case.row["uuid"],
        )
        case = replace(case, running=case.guest.runs)
        wrong = differences(stage, case, gone(case))
        assert not wrong, f"after a detach that followed: {wrong}"
    stage.run("delete_volume", volume_id=case.volume)


def differences_when_up(stage: Stage, case: Case, wanted: Views) -> list[str]:
    """Look at all views once the guest speaks: what it said last may be of an earlier boot."""
    if case.guest.runs:
        case.guest.console.fresh(BOOT_TIMEOUT)
    return differences(stage, case, wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An operation on a guest; ``before`` is what one that failed must leave, ``after`` the aim.

    ``before`` is the caller's way back: an attach that failed leaves no reservation.
    ``differences`` looks at all that the operation is about, and ``clear`` takes it away. One that
    is ``refused`` fails with that code whatever befalls it; what it must leave is its aim.
    """

    name: str
    method: str
    prepare: Callable[[Stage], Case]
    arguments: Callable[[Case], dict[str, Any]]
    before: Callable[[Case], Views]
    after: Callable[[Case], Views]
    differences: Callable[[Stage, Case, Views], list[str]] = differences
    clear: Callable[[Stage, Case], None] = detach
    refused: str | None = None


def _attach(case: Case) -> dict[str, Any]:
    return {"instance_uuid": case.guest.uuid, "bdm_uuid": case.row["uuid"]}


def _detach(case: Case) -> dict[str, Any]:
    return _attach(case) | {"volume_id": case.volume}


def _lost(case: Case) -> Case:
    """Have other hands take the disk from the persistent layout."""
    case.guest.domain.detachDeviceAlias(case.row["alias"], libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    return case


def _unnamed(case: Case) -> Case:
    """Have other hands define the domain anew, without its aliases."""
    kept = case.guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    case.guest.domain.connect().defineXML(without_aliases(kept))
    return case


def _named_and_detached(stage: Stage, case: Case) -> None:
    stage.run("migrate_aliases", instance_uuid=case.guest.uuid)
    detach(stage, case)


def _named_or_told(stage: Stage, case: Case, wanted: Views) -> list[str]:
    """Look whether it is as wanted, or as was told.

    One of which the host could not say where it is was skipped; and a worker that is started again
    asks for itself what failed in the run before.
    """
    wrong = differences(stage, case, wanted)
    other = _without_persistent(case) if _skipped(stage, case) else attached(case)
    return wrong if wrong and differences(stage, case, other) else []


def _skipped(stage: Stage, case: Case) -> bool:
    told = select_all(stage, UPDATES, UPDATES.c.instance_uuid == case.guest.uuid)
    last = [one["payload"] for one in told if one["event"] == Event.ALIASES_MIGRATED.value][-1]
    return "skipped" in {device["result"] for device in last["devices"]}


def _without_persistent(case: Case) -> Views:
    return attached(case) | {"persistent XML": []}


def _on_it(case: Case, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"instance_uuid": case.guest.uuid, **more}


def _off(case: Case) -> Views:
    return attached(replace(case, running=False))


def _on(case: Case) -> Views:
    return attached(replace(case, running=True))


SCENES = (
    Scene(
        name="attach to a stopped guest",
        method="attach_volume",
        prepare=lambda stage: stage.reserved(running=False),
        arguments=_attach,
        before=gone,
        after=attached,
    ),
    Scene(
        name="attach to a running guest",
        method="attach_volume",
        prepare=lambda stage: stage.reserved(running=True),
        arguments=_attach,
        before=gone,
        after=attached,
    ),
    Scene(
        name="attach too late, with an attachment",
        method="attach_volume",
        prepare=partial(given_back.with_an_attachment, running=True),
        arguments=given_back.too_late,
        before=gone,
        after=gone,
        differences=given_back.differences,
        refused=given_back.TOO_LATE,
    ),
    Scene(
        name="release a reservation that lapsed, with its attachment",
        method="release_lapsed_reservation",
        prepare=partial(given_back.with_an_attachment, running=True),
        arguments=given_back.lapsed,
        before=given_back.waiting,
        after=gone,
        differences=given_back.differences,
        clear=given_back.clear,
    ),
    Scene(
        name="put a lost disk back into a running guest",
        method="repair_drift",
        prepare=lambda stage: _lost(stage.attached(running=True)),
        arguments=lambda case: {"instance_uuid": case.guest.uuid, "qemu": False},
        before=_without_persistent,
        after=attached,
    ),
    Scene(
        name="give a disk its alias",
        method="migrate_aliases",
        prepare=lambda stage: _unnamed(stage.attached(running=True)),
        arguments=_on_it,
        before=_without_persistent,
        after=attached,
        differences=_named_or_told,
        clear=_named_and_detached,
    ),
    Scene(
        name="detach from a stopped guest",
        method="detach_volume",
        prepare=lambda stage: stage.attached(running=False),
        arguments=_detach,
        before=attached,
        after=gone,
    ),
    Scene(
        name="detach from a running guest",
        method="detach_volume",
        prepare=lambda stage: stage.attached(running=True),
        arguments=_detach,
        before=attached,
        after=gone,
    ),
    *(
        Scene(
            name=f"extend what a {state} guest has",
            method="extend_volume",
            prepare=partial(extends.grown, running=running),
            arguments=extends.extending,
            before=extends.unseen,
            after=extends.seen,
            differences=extends.differences,
        )
        for state, running in (("stopped", False), ("running", True))
    ),
    Scene(
        name="extend, and grow what a running guest has",
        method="extend_volume",
        prepare=lambda stage: stage.attached(running=True),
        arguments=extends.growing,
        before=extends.as_made,
        after=extends.seen,
        differences=extends.differences,
    ),
    Scene(
        name="swap a volume of a running guest",
        method="swap_volume",
        prepare=swaps.attached,
        arguments=swaps.swapping,
        before=swaps.with_the_old,
        after=swaps.with_the_new,
        differences=swaps.differences,
        clear=swaps.clear,
    ),
    *(
        Scene(
            name=f"attach an interface to a {state} guest",
            method="attach_interface",
            prepare=partial(peripherals.planned, running=running),
            arguments=peripherals.wanted,
            before=peripherals.gone,
            after=peripherals.there,
            differences=peripherals.differences,
            clear=peripherals.clear,
        )
        for state, running in (("stopped", False), ("running", True))
    ),
    *(
        Scene(
            name=f"detach one of two interfaces with one MAC from a {state} guest",
            method="detach_interface",
            prepare=partial(peripherals.attached, running=running),
            arguments=peripherals.named,
            before=peripherals.there,
            after=peripherals.gone,
            differences=peripherals.differences,
            clear=peripherals.clear,
        )
        for state, running in (("stopped", False), ("running", True))
    ),
    Scene(
        name="start a guest",
        method="start_instance",
        prepare=lambda stage: stage.booted_from(running=False),
        arguments=_on_it,
        before=_off,
        after=_on,
        differences=differences_when_up,
    ),
    Scene(
        name="stop a guest",
        method="stop_instance",
        prepare=lambda stage: stage.booted_from(running=True),
        arguments=lambda case: _on_it(case, timeout=STOPS_WITHIN),
        before=_on,
        after=_off,
        differences=differences_when_up,
    ),
    Scene(
        name="reboot a guest",
        method="reboot_instance",
        prepare=lambda stage: stage.booted_from(running=True),
        arguments=_on_it,
        before=_on,
        after=_on,
        differences=differences_when_up,
    ),
    Scene(
        name="reboot a guest hard",
        method="reboot_instance",
        prepare=lambda stage: stage.booted_from(running=True),
        arguments=lambda case: _on_it(case, hard=True),
        before=_on,
        after=_on,
        differences=differences_when_up,
    ),
    Scene(
        name="build an instance",
        method="build_instance",
        prepare=instances.unbuilt,
        arguments=instances.wanted,
        before=instances.away,
        after=instances.there,
        differences=instances.differences,
        clear=instances.clear,
    ),
    Scene(
        name="destroy an instance",
        method="destroy_instance",
        prepare=instances.built,
        arguments=_on_it,
        before=instances.there,
        after=instances.away,
        differences=instances.differences,
        clear=instances.clear,
    ),
    *(
        Scene(
            name=f"rescue {what}",
            method="rescue_instance",
            prepare=partial(rescues.at_rest, running=running, speaks=image == rescues.SPEAKING),
            arguments=partial(rescues.rescuing, image=image),
            before=rescue_views.as_before,
            after=partial(rescue_views.rescued, mode=mode),
            differences=rescue_views.differences,
            clear=rescues.clear,
        )
        for what, running, image, mode in (
            ("a running guest", True, rescues.STABLE_USB, Mode.STABLE),
            ("a stopped guest", False, rescues.STABLE_VIRTIO, Mode.STABLE),
            ("a running guest the legacy way", True, rescues.LEGACY, Mode.LEGACY),
            ("a guest that is asked to shut down", True, rescues.SPEAKING, Mode.STABLE),
        )
    ),
    *(
        Scene(
            name=f"unrescue a guest that {what}",
            method="unrescue_instance",
            prepare=partial(rescues.in_rescue, running=running, speaks=speaks),
            arguments=rescues.unrescuing,
            before=rescue_views.rescued,
            after=rescue_views.as_before,
            differences=rescue_views.differences,
            clear=rescues.clear,
        )
        for what, running, speaks in (
            ("ran", True, False),
            ("was stopped", False, False),
            ("is asked to shut down", True, True),
        )
    ),
    Scene(
        name="forget an adopted guest",
        method="forget_instance",
        prepare=moves.adopted,
        arguments=_on_it,
        before=moves.in_care,
        after=moves.as_made,
        differences=moves.differences,
        clear=moves.clear,
    ),
    Scene(
        name="release an instance",
        method="release_instance",
        prepare=moves.with_a_volume,
        arguments=_on_it,
        before=moves.in_care,
        after=moves.let_go,
        differences=moves.differences,
        clear=moves.clear,
    ),
    Scene(
        name="import an instance",
        method="import_instance",
        prepare=moves.released,
        arguments=moves.importing,
        before=moves.not_here,
        after=moves.in_care,
        differences=moves.differences,
        clear=moves.clear,
    ),
    Scene(
        name="import an instance that was built",
        method="import_instance",
        prepare=built_moves.released,
        arguments=built_moves.importing,
        before=built_moves.brought,
        after=built_moves.taken_in,
        differences=built_moves.differences,
        clear=built_moves.clear,
    ),
)

WITHOUT = {
    "update_block_device": "makes no outside call but for a config drive, which is renewed or not",
    "attach_host_device": "plugs as attach_interface does; a host has none to spare for a test",
    "detach_host_device": "unplugs as detach_interface does; a host has none to spare for a test",
    "complete_adoption": "writes as forget_instance does; nobody can ask for it",
    "resume_instance": "starts the guest as start_instance does; nobody can ask for it",
    "return_volume": "attaches as attach_volume does; nobody can ask for it",
    "sync_power_state": "reads the guest and changes a row of ours; nobody can ask for it",
    "heal_ghost": "nobody can ask for it; the soak that kills libvirtd has its ghosts",
}
"""Operations on a guest that have no scene, and why."""


def missing() -> set[str]:
    """Return the operations on a guest that have neither a scene nor a reason."""
    wanted = {name for name, kind in OPERATIONS.items() if _is_about_a_guest(kind)}
    return wanted - {scene.method for scene in SCENES} - set(WITHOUT)


def _is_about_a_guest(kind: Kind) -> bool:
    return "instance_uuid" in {field.name for field in fields(kind.request)}
