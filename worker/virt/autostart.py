"""Guests that hold volumes are not libvirt's to start: it would do so before they are connected."""

import logging

import libvirt

LOG = logging.getLogger(__name__)


def take_off_autostart(domain: libvirt.virDomain) -> None:
    """Take the domain off libvirt's autostart, if it is on it; the worker starts it instead."""
    if domain.isPersistent() and domain.autostart():
        domain.setAutostart(0)
        LOG.warning("guest taken off libvirt's autostart: instance=%s", domain.UUIDString())
