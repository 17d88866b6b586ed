"""libvirt's errors as ours, told apart by code and, where one code means many things, by message.

The codes are those of https://libvirt.org/html/libvirt-virterror.html. The messages are libvirt's
English ones, as a daemon without a locale of its own writes them.
"""

import libvirt

from worker.errors import DomainNotFound, HypervisorRefused, HypervisorUnavailable, WorkerError

_TRANSPORT = frozenset({libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE})
_TRANSPORT_CODES = frozenset(
    {libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_RPC}
)
_NO_CONNECTION = frozenset({libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN})
_GONE = frozenset(
    {
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_DEVICE_MISSING,
    }
)


def connection_lost(error: libvirt.libvirtError) -> bool:
    """Tell whether the connection, not the hypervisor behind it, failed."""
    code = error.get_error_code()
    if code in _NO_CONNECTION:
        return True
    return error.get_error_domain() in _TRANSPORT and code in _TRANSPORT_CODES


def nothing_to_detach(error: libvirt.libvirtError) -> bool:
    """Tell whether a detach was refused because device, guest or configuration is not there.

    An unknown alias is error 1, an internal one, and known by its message alone; a guest that
    does not run and a transient one without a configuration are both error 55.
    """
    return error.get_error_code() in _GONE or _says(error, "no device found with alias")


def detach_under_way(error: libvirt.libvirtError) -> bool:
    """Tell whether a detach was refused because the guest has been asked already."""
    return _says(error, "already in the process of unplug")


def no_block_job(error: libvirt.libvirtError) -> bool:
    """Tell whether a copy could not be ended because there is none."""
    invalid = error.get_error_code() == libvirt.VIR_ERR_INVALID_ARG
    return invalid and "does not have an active block job" in str(error)


def not_running(error: libvirt.libvirtError) -> bool:
    """Tell whether a question to QEMU found none, for the guest does not run or is gone."""
    return error.get_error_code() in {libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID}


def never_resized(error: libvirt.libvirtError) -> bool:
    """Tell whether a resize was refused for what the disk is: read-only, or an empty drive."""
    code = error.get_error_code()
    return bool(code == libvirt.VIR_ERR_OPERATION_UNSUPPORTED)


def ghost_in_the_way(error: libvirt.libvirtError) -> bool:
    """Tell whether an attach was refused for something that QEMU has and libvirt denies.

    It has the device, or something that libvirt would give the same number; libvirt takes the
    next number with its next attempt.
    """
    return any(
        _says(error, words)
        for words in (
            "Duplicate device ID",
            "Duplicate ID 'hostua-",
            "Duplicate nodes with node-name",
            "attempt to add duplicate property 'libvirt-",
        )
    )


def place_taken_by_ghost(error: libvirt.libvirtError) -> bool:
    """Tell whether QEMU has a device where libvirt saw none."""
    return _says(error, "in use by ") or _says(error, "already used by ")


def two_boot_orders(error: libvirt.libvirtError) -> bool:
    """Tell whether a device was refused for its number in the boot order, beside a list."""
    unsupported = error.get_error_code() == libvirt.VIR_ERR_CONFIG_UNSUPPORTED
    return unsupported and "per-device boot elements cannot be used together" in str(error)


def translated(error: libvirt.libvirtError, uri: str) -> WorkerError:
    """Return our error for libvirt's; the message is libvirt's own."""
    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
        return DomainNotFound(str(error))
    if connection_lost(error):
        return HypervisorUnavailable(f"libvirt at {uri} does not answer: {error}")
    return HypervisorRefused(str(error))


def _says(error: libvirt.libvirtError, words: str) -> bool:
    internal = error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR
    return internal and words in str(error)
