"""What a volume of a Cinder without attachments says of who has it."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from worker.model.ids import AttachmentId, InstanceId, VolumeId
from worker.model.volume import AttachmentStatus
from worker.volume.cinder.faults import understood
from worker.volume.cinder.reading import Said

CLAIM = "blockworker_"
"""How the metadata's names begin; the instance follows."""

RESERVED, EXPORTED = "reserved", "exported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a volume says of one instance; ``entry`` is Cinder's record of who has it attached.

    ``others`` have claimed it as well, though only one can have it.
    """

    volume: VolumeId
    instance: InstanceId
    claim: str | None
    entry: str | None
    held: bool
    shared: bool
    others: tuple[InstanceId, ...]

    @property
    def status(self) -> AttachmentStatus:
        """How far it has come."""
        if self.entry is not None:
            return AttachmentStatus.ATTACHED
        exported = self.claim == EXPORTED
        return AttachmentStatus.ATTACHING if exported else AttachmentStatus.RESERVED


def attachment_id(volume: VolumeId, instance: InstanceId) -> AttachmentId:
    """Return the one id that such an attachment has, however often it is made."""
    return AttachmentId(str(uuid5(NAMESPACE_URL, f"blockworker:{volume}:{instance}")))


def seen_in(said: Said, instance: InstanceId) -> Seen:
    """Return what the volume says of the instance."""
    with understood():
        claims = {
            InstanceId(name.removeprefix(CLAIM)): word
            for name, word in said["metadata"].items()
            if name.startswith(CLAIM)
        }
        mine = [one for one in said["attachments"] if one["server_id"] == instance]
        entry = str(mine[0]["attachment_id"]) if mine else None
        shared = said.get("multiattach") is True
        others = () if shared else tuple(one for one in claims if one != instance)
        # Where two have claimed it in the same moment, nobody can tell which of them has it.
        reserved = said["status"] == "attaching" and instance in claims and not others
        return Seen(
            volume=VolumeId(said["id"]),
            instance=instance,
            claim=claims.get(instance),
            entry=entry,
            held=entry is not None or reserved,
            shared=shared,
            others=others,
        )


def instances_in(said: Said) -> Iterator[InstanceId]:
    """Yield every instance that the volume says something of."""
    with understood():
        for name in said["metadata"]:
            if name.startswith(CLAIM):
                yield InstanceId(name.removeprefix(CLAIM))
        for one in said["attachments"]:
            yield InstanceId(one["server_id"])
