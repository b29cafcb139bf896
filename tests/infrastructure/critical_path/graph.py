"""The steps of a first deploy and what each waits for, read from the templates.

A nested stack begins once everything its parameters and DependsOn name is there, and hands its outputs on
only when all of its resources are there. So a slow resource holds up what doesn't use it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.infrastructure.cloudformation import Template, Templates
from tests.infrastructure.critical_path.evaluation import Evaluation, Value, references
from tests.infrastructure.critical_path.times import Time, time_of

STACK = "AWS::CloudFormation::Stack"
BEGIN = " begins"
CHILD = re.compile(r"infrastructure/([\w-]+)\.yaml$")


@dataclass(frozen=True)
class Step:
    """One creation: `Alb/LoadBalancer`, or `Alb begins` and `Alb` for the two ends of a nested stack."""

    name: str
    resource_type: str
    time: Time
    needs: frozenset[str]


@dataclass(frozen=True)
class Wait:
    """One nested stack that waits for all of another."""

    stack: str
    earlier: str

    def __str__(self) -> str:
        """Return what would be if it were loosened."""
        return f"{self.stack} waits only for what it uses of {self.earlier}"


@dataclass
class _Child:
    logical_id: str
    evaluation: Evaluation
    parameters: Mapping[str, Any]
    resources: Mapping[str, Mapping[str, Any]]
    needs: set[str]


class Deploy:
    """The steps of creating the root stack and all below it.

    Args:
        templates: all templates, `main` among them.
        values: of the root's parameters.
        region: where.

    """

    def __init__(self, templates: Templates, values: Mapping[str, str], region: str) -> None:
        self._templates = templates
        self._known: dict[str, Value] = {}
        # In the order of their needs: a stack's parameters may be outputs of one before it.
        self._root = Evaluation(templates["main"], dict(values), region, self._known)
        self._resources = self._root.resources()
        self._children: dict[str, _Child] = {}
        for name in _in_order({name: self._needs(name) for name in self._resources}):
            self._enter(name, region)

    def waits(self) -> list[Wait]:
        """Return which nested stack waits for which, in the root's order."""
        return [
            Wait(child.logical_id, earlier)
            for child in self._children.values()
            for earlier in sorted(child.needs & self._children.keys())
        ]

    def steps(self, loosened: frozenset[Wait] = frozenset()) -> list[Step]:
        """Return the steps.

        Args:
            loosened: waits to replace by what is used: each resource waits for those resources of the other
                stack that its parameters come from. What DependsOn alone asks for isn't waited for at all.

        """
        steps = []
        for child in self._children.values():
            name = child.logical_id
            loose = {wait.earlier for wait in loosened if wait.stack == name}
            begin = {
                *(child.needs - loose),
                *self._sources(child, _of_conditions(child.evaluation.template), loose),
            }
            steps.append(_step(f"{name}{BEGIN}", STACK, {"part": "begin"}, begin))
            for resource_id, resource in child.resources.items():
                used = set(references(resource))
                needs = {f"{name}{BEGIN}", *self._sources(child, used, loose)}
                needs |= {
                    f"{name}/{other}" for other in _resources_named(used | _after(resource), child.resources)
                }
                needs.discard(f"{name}/{resource_id}")
                properties = resource.get("Properties", {})
                steps.append(_step(f"{name}/{resource_id}", resource["Type"], properties, needs))
            everything = {f"{name}/{resource_id}" for resource_id in child.resources} | {f"{name}{BEGIN}"}
            steps.append(_step(name, STACK, {"part": "end"}, everything))
        return steps

    def _needs(self, name: str) -> set[str]:
        resource = self._resources[name]
        return _resources_named(set(references(resource)) | _after(resource), self._resources) - {name}

    def _enter(self, name: str, region: str) -> None:
        properties = self._resources[name]["Properties"]
        found = CHILD.search(str(self._root.value(properties["TemplateURL"])))
        if self._resources[name]["Type"] != STACK or not found:
            raise ValueError(f"{name} is no nested stack of this directory, and the root holds only those")
        template = self._templates[found[1]]
        parameters = properties.get("Parameters", {})
        values = {key: self._root.value(node) for key, node in parameters.items()}
        evaluation = Evaluation(template, values, region, {})
        self._children[name] = _Child(name, evaluation, parameters, evaluation.resources(), self._needs(name))
        for output, declaration in template["Outputs"].items():
            if evaluation.exists(output):
                self._known[f"{name}.Outputs.{output}"] = evaluation.value(declaration["Value"])

    def _sources(self, child: _Child, used: set[str], loose: set[str]) -> Iterator[str]:
        """Yield the resources of loosened stacks that the used ones of a child's parameters come from."""
        for parameter in used & child.parameters.keys():
            for reference in references(child.parameters[parameter]):
                stack, _, output = reference.partition(".Outputs.")
                if stack not in loose:
                    continue
                earlier = self._children[stack]
                yield f"{stack}{BEGIN}"
                declared = earlier.evaluation.pruned(earlier.evaluation.template["Outputs"][output]["Value"])
                produced = set(references(declared))
                yield from (f"{stack}/{found}" for found in _resources_named(produced, earlier.resources))
                # An output may be a parameter handed through.
                further = {wait for wait in earlier.needs if wait in self._children}
                yield from self._sources(earlier, produced, further)


def _step(name: str, resource_type: str, properties: Mapping[str, Any], needs: set[str]) -> Step:
    return Step(name, resource_type, time_of(resource_type, properties), frozenset(needs))


def _resources_named(references_: set[str], resources: Mapping[str, Any]) -> set[str]:
    return {reference.split(".")[0] for reference in references_} & resources.keys()


def _after(resource: Mapping[str, Any]) -> set[str]:
    explicit = resource.get("DependsOn", [])
    return {explicit} if isinstance(explicit, str) else set(explicit)


def _of_conditions(template: Template) -> set[str]:
    return set(references([template.get("Conditions", {}), template.get("Rules", {})]))


def _in_order(needs: Mapping[str, set[str]]) -> list[str]:
    """Return the names so that each comes after what it needs; a circle is a ValueError."""
    done: list[str] = []
    while len(done) < len(needs):
        ready = [name for name in needs if name not in done and needs[name] <= set(done)]
        if not ready:
            raise ValueError(
                f"these wait for each other: {', '.join(name for name in needs if name not in done)}"
            )
        done += ready
    return done
