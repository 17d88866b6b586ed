"""How fast a volume may be for a guest, as its volume service says: libvirt's ``<iotune>``."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from worker.errors import ProtocolUnsupported

_WAYS, _UNITS = ("total", "read", "write"), ("bytes", "iops")
_RATES = tuple(f"{way}_{unit}_sec" for way, unit in product(_WAYS, _UNITS))
_SIZE = "size_iops_sec"

LIMITS = (*_RATES, *(f"{rate}_max" for rate in _RATES), _SIZE)
"""The limits that QEMU keeps: bytes and operations a second, their bursts, the size of one."""


def limits_in(properties: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return the limits of a connection, those that are set, in the order of ``LIMITS``.

    Of the other specs (``minIOPS``) some are the storage's own; none is the guest's. Raises
    ProtocolUnsupported for limits that QEMU refuses.
    """
    specs = properties.get("qos_specs") or {}
    if not isinstance(specs, Mapping):
        raise ProtocolUnsupported("qos_specs are names with numbers")
    said = {name: _number(name, specs[name]) for name in LIMITS if name in specs}
    # Nought is no limit, for QEMU as for Cinder.
    limits = {name: value for name, value in said.items() if value}
    for reason in _refusals(limits):
        raise ProtocolUnsupported(f"the limits of the volume (qos_specs) cannot be kept: {reason}")
    return tuple(limits.items())


def _number(name: str, value: object) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()):
        raise ProtocolUnsupported(f"the limit {name} is a whole number, and not {value!r}")
    return int(text)


def _refusals(limits: Mapping[str, int]) -> Iterator[str]:
    for unit, burst in product(_UNITS, ("", "_max")):
        total = f"total_{unit}_sec{burst}"
        for way in ("read", "write"):
            part = f"{way}_{unit}_sec{burst}"
            if total in limits and part in limits:
                yield f"{total} and {part} exclude each other"
    for rate in _RATES:
        yield from _burst_refusals(rate, limits)
    if _SIZE in limits and not any(f"{way}_iops_sec" in limits for way in _WAYS):
        yield f"{_SIZE} without a limit of operations"


def _burst_refusals(rate: str, limits: Mapping[str, int]) -> Iterator[str]:
    burst = limits.get(f"{rate}_max")
    if burst is None:
        return
    if rate not in limits:
        yield f"{rate}_max without {rate}"
    elif burst < limits[rate]:
        yield f"{rate}_max is less than {rate}"
