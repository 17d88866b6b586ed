"""Write down what the hypervisor keeps of an instance."""

from dataclasses import dataclass

from worker.model.ids import InstanceId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportXml:
    """Call: the persistent layout of an instance, as the hypervisor writes it."""

    instance_uuid: InstanceId
    without_aliases: bool = False


def export_xml(request: ExportXml, ports: Ports) -> dict[str, str]:
    """Return the text, without secrets; change nothing.

    Without aliases it is as a host would have it that knows nothing of them. Raises DomainNotFound,
    HypervisorRefused for a transient domain.
    """
    instance = ports.instances.get(request.instance_uuid)
    text = ports.definitions.read(instance.uuid, aliases=not request.without_aliases)
    return {"instance_uuid": instance.uuid, "domain_xml": text}
