"""QEMU's block jobs and nodes where libvirt has no word for what is wanted of them."""

import time
from collections.abc import Mapping
from typing import Any

import libvirt

from worker.errors import HypervisorRefused
from worker.virt.qemu.chains import Answers, devices
from worker.virt.qemu.monitor import QmpRefused, ask

_POLL = 0.1
_ENDINGS = 300
"""How often a job that was told to end is looked at, ``_POLL`` seconds apart."""

_ENDED = "concluded"


def end_lost_copies(domain: libvirt.virDomain, device: str) -> bool:
    """End the copies of a disk that libvirt denies; return whether there were any.

    libvirt names a copy by the disk's target, and forgets it if it dies before it has written down
    that there is one. Raises QmpRefused, HypervisorRefused for one that does not end.
    """
    lost = [str(job["id"]) for job in _copies(domain, device)]
    for job in lost:
        ask(domain, "block-job-cancel", {"device": job, "force": True})
    for _look in range(_ENDINGS):
        left = _copies(domain, device)
        if not left:
            return bool(lost)
        for each in left:
            if each["status"] == _ENDED:
                ask(domain, "job-dismiss", {"id": each["id"]})
        time.sleep(_POLL)
    message = f"QEMU does not end {', '.join(lost)}"
    raise HypervisorRefused(message)


def went_over(domain: libvirt.virDomain, alias: str, source: str, target: str) -> bool:
    """Tell whether the disk's device has the target open, and not what it was copied from.

    Raises QmpRefused, HypervisorRefused where QEMU does not say so of exactly one of them.
    """
    blocks = ask(domain, "query-block")
    nodes = ask(domain, "query-named-block-nodes")
    answers = Answers(blocks=blocks, nodes=nodes, objects=(), known=frozenset())
    chains = [chain for chain in answers.chains() if chain.device == alias]
    over, stays = (any(chain.opens(each) for chain in chains) for each in (target, source))
    if over == stays:
        message = f"QEMU does not say whether {alias} is {source} or {target}"
        raise HypervisorRefused(message)
    return over


def close(domain: libvirt.virDomain, number: int | None) -> None:
    """Close the image that libvirt numbers so; one that is not open is fine."""
    if number is not None:
        for layer in ("format", "storage"):
            _close(domain, f"libvirt-{number}-{layer}")


def show_whole(domain: libvirt.virDomain, alias: str, discard: str | None) -> None:
    """Have a disk that ends before its source does end with it; raises QmpRefused.

    All else about its node is said again as it is, for QEMU takes what is not said for its default.
    """
    node = _node_of(domain, alias)
    name = str(node["node-name"])
    wanted = {
        "node-name": name,
        "driver": "raw",
        "file": name.replace("-format", "-storage"),
        "read-only": node["ro"],
        "detect-zeroes": node["detect_zeroes"],
        "cache": {key: node["cache"][key] for key in ("direct", "no-flush")},
    }
    if discard is not None:
        wanted["discard"] = discard
    ask(domain, "blockdev-reopen", {"options": [wanted]})


def _close(domain: libvirt.virDomain, node: str) -> None:
    try:
        ask(domain, "blockdev-del", {"node-name": node})
    except QmpRefused as refused:
        if "Failed to find node" not in str(refused):
            raise


def _copies(domain: libvirt.virDomain, device: str) -> list[Mapping[str, Any]]:
    jobs: list[Mapping[str, Any]] = ask(domain, "query-jobs")
    return [job for job in jobs if str(job["id"]).startswith(f"copy-{device}-")]


def _node_of(domain: libvirt.virDomain, alias: str) -> Mapping[str, Any]:
    for device, block in devices(ask(domain, "query-block")):
        if device == alias and block.get("inserted"):
            inserted: Mapping[str, Any] = block["inserted"]
            return inserted
    message = f"QEMU has no disk {alias}"
    raise HypervisorRefused(message)
