"""QEMU's own language (QMP), spoken through libvirt.

libvirt marks the guest as tampered with (``custom-monitor``). It lets such a command wait until
each of its own calls on that guest, an attach say, has ended.
"""

import json
from collections.abc import Mapping
from typing import Any

import libvirt
import libvirt_qemu


class QmpRefused(Exception):
    """QEMU refused a command; ``kind`` is its class of the error, the message its own."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def ask(domain: libvirt.virDomain, command: str, arguments: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - each command has an answer of its own
    """Return what QEMU answers; raises QmpRefused, and libvirtError where it was not asked.

    The commands are those of https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html.
    """
    question = json.dumps({"execute": command, "arguments": dict(arguments or {})})
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, question, 0))
    error = answer.get("error")
    if error is not None:
        raise QmpRefused(str(error.get("class")), str(error.get("desc")))
    return answer["return"]
