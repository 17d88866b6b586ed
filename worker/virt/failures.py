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
