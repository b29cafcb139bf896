"""What CreateService and UpdateService refuse whatever the deployment strategy, and ministack accepts."""

from __future__ import annotations

from typing import Any

from ministack.services import ecs, servicediscovery  # type: ignore[import-untyped]


def of(service: dict[str, Any]) -> str | None:
    """The reason, in the words of the local cloud; None for a service that ECS would accept.

    ``service`` has the request's parameters, for an update over those that the service has already.
    """
    return _capacity_provider(service) or _service_connect(service)


def _capacity_provider(service: dict[str, Any]) -> str | None:
    reference = service.get("cluster") or service.get("clusterArn") or "default"
    cluster = ecs._clusters.get(ecs._resolve_cluster_name(reference)) or {}
    for item in service.get("capacityProviderStrategy") or []:
        if item["capacityProvider"] not in (cluster.get("capacityProviders") or []):
            return (
                f"The capacity provider {item['capacityProvider']} is not associated with the cluster "
                f"{cluster.get('clusterName', reference)}."
            )
    return None


def _service_connect(service: dict[str, Any]) -> str | None:
    connect = service.get("serviceConnectConfiguration") or {}
    if not connect.get("enabled"):
        return None
    namespace = connect.get("namespace", "")
    known = servicediscovery._namespaces.values()
    if not any(namespace in {each.get("Arn"), each.get("Name")} for each in known):
        return f"serviceConnectConfiguration: there is no namespace {namespace!r}."
    definition = ecs._task_defs.get(ecs._resolve_td_key(service.get("taskDefinition", ""))) or {}
    ports = {
        mapping.get("name")
        for container in definition.get("containerDefinitions", [])
        for mapping in container.get("portMappings") or []
    }
    for each in connect.get("services") or []:
        if each.get("portName") not in ports:
            return (
                f"serviceConnectConfiguration: portName({each.get('portName')}) does not refer to any named "
                "port mapping of the task definition."
            )
    return None
