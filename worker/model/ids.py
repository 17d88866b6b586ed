"""Ids, as the services that own them write them."""

import uuid
from typing import NewType

InstanceId = NewType("InstanceId", str)
VolumeId = NewType("VolumeId", str)
AttachmentId = NewType("AttachmentId", str)
BlockDeviceId = NewType("BlockDeviceId", str)
OperationId = NewType("OperationId", str)
ImageId = NewType("ImageId", str)
KeyId = NewType("KeyId", str)
PortId = NewType("PortId", str)
PeripheralId = NewType("PeripheralId", str)

DeviceId = BlockDeviceId | PeripheralId
"""A row of ours that stands for one device of a guest; no two of any kind have one id."""


def is_uuid(text: str) -> bool:
    """Tell whether the text is a UUID in its canonical form: lower case, with hyphens."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def new_uuid() -> str:
    """Draw a random UUID."""
    return str(uuid.uuid4())
