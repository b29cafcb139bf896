"""What every role and resource policy of the templates allows, as a page that `make docs` writes.

A reviewer, or whoever writes a permissions boundary, reads there what the templates say, in their own words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.infrastructure.cloudformation import (
    ROOT,
    Template,
    Templates,
    get_att,
    load_templates,
    resources,
    walk,
)
from tests.infrastructure.promises.roles import RESOURCE_POLICIES, knows_no_resources, statements_of

PAGE = ROOT / "docs" / "permissions.md"
HEAD = """# Permissions

Written by `make docs` from the templates: every role of the stack, who takes it and on what condition, what
its statements allow on what; then what services may do with the stack's own buckets, keys, topics and
functions. `${…}` is filled in by the deploy; *if Has…* means that a statement is there under that condition
of the template only.

A role is made for one purpose, and no action that is allowed has a wildcard. Where the resource is `*`, the
table says why: most such actions know no resources in AWS's [service authorization reference][reference].
With the parameter `PermissionsBoundary` every role below carries that boundary; what a role needs, the
boundary must allow too.

A role names the account it serves, `aws:SourceAccount`, and what of it, `aws:SourceArn`, where the service
knows them. A function's role names the account, as [Lambda's guide][lambda] says, but no function: its name
is made up after the role. A role of a function in the VPC names nothing: while Lambda prepares a VPC it
hasn't been in, it [names no source][source], and the function couldn't be made. The roles that ECS itself
takes are [as AWS documents them][ecs].

[reference]: https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
[lambda]: https://docs.aws.amazon.com/lambda/latest/dg/permissions-managed-policies.html
[source]: https://github.com/aws/aws-parallelcluster/pull/6926
[ecs]: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-permissions.html
"""
KNOWS_NO_RESOURCES = "`*`: AWS knows no resources for it"
# Allowed on everything, though the actions know resources: who asks for it, and where it says so.
ON_EVERYTHING = {
    "ProbeRole": "`*`: [Lambda asks for it](https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html)"
}


def page(templates: Templates) -> str:
    """Return the page."""
    lines = [HEAD]
    for stem, template in templates.items():
        roles = resources(template, "AWS::IAM::Role")
        if roles:
            lines.append(f"## {stem}.yaml\n")
        for name, role in roles.items():
            lines += [*_role(template, name, role), ""]
    lines += ["## Resource policies\n", *_resource_policies(templates), ""]
    return "\n".join(lines)


def _role(template: Template, name: str, role: dict[str, Any]) -> Iterator[str]:
    made_if = template["Resources"][name].get("Condition")
    yield f"### {name}"
    yield ""
    yield f"{role['Description']}" + (f" Made if `{made_if}`." if made_if else "")
    yield ""
    for statement in statements_of(role["AssumeRolePolicyDocument"]):
        yield f"Taken by {_principal(statement)}{_where(statement)}."
    yield ""
    rows = [*_rows(name, role.get("Policies", []))]
    for arn in role.get("ManagedPolicyArns", []):
        rows.append(f"| all of AWS's own policy | {_words(arn)} | |")
    if not rows:
        yield "Nothing is allowed."
        return
    yield "| allowed | on | condition |"
    yield "|---|---|---|"
    yield from rows


def _rows(role: str, policies: Any) -> Iterator[str]:
    for condition, statement in _conditional(policies):
        on = _on(statement)
        if on == "`*`" and statement["Effect"] == "Allow":
            known = all(knows_no_resources(action) for action in _listed(statement["Action"]))
            on = KNOWS_NO_RESOURCES if known else ON_EVERYTHING[role]
        yield f"| {_what(statement)} | {on} | {_when(condition, statement)} |"


def _what(statement: dict[str, Any]) -> str:
    """Return a statement's effect and actions."""
    denied = "**denied:** " if statement["Effect"] == "Deny" else ""
    if "NotAction" in statement:
        return f"{denied}all but {_words(statement['NotAction'])}"
    return denied + ", ".join(f"`{action}`" for action in _listed(statement["Action"]))


def _on(statement: dict[str, Any]) -> str:
    """Return a statement's resources."""
    if "NotResource" in statement:
        return f"all but {_words(statement['NotResource'])}"
    return _words(statement["Resource"])


def _when(condition: str, statement: dict[str, Any]) -> str:
    return "; ".join([*([f"*if {condition}*"] if condition else []), *_asked(statement)])


def _listed(node: str | list[str]) -> list[str]:
    return [node] if isinstance(node, str) else node


def _conditional(node: Any, condition: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (condition of the template, statement) in the order they are written."""
    if isinstance(node, list):
        for item in node:
            yield from _conditional(item, condition)
    elif isinstance(node, dict) and "Effect" in node:
        yield condition, node
    elif isinstance(node, dict) and "Fn::If" in node:
        name, then, otherwise = node["Fn::If"]
        outer = f"{condition} and " if condition else ""
        yield from _conditional(then, f"{outer}{name}")
        yield from _conditional(otherwise, f"{outer}not {name}")
    elif isinstance(node, dict):
        for item in node.values():
            yield from _conditional(item, condition)


def _principal(statement: dict[str, Any]) -> str:
    principal = statement["Principal"]
    if principal == "*":
        return "anybody"
    return ", ".join(_words(names) for names in principal.values())


def _where(statement: dict[str, Any]) -> str:
    asked = _asked(statement)
    return f", where {' and '.join(asked)}" if asked else ""


def _asked(statement: dict[str, Any]) -> list[str]:
    """Return a statement's conditions, one text each."""
    return [
        _test(operator, key, value)
        for operator, keys in statement.get("Condition", {}).items()
        for key, value in keys.items()
    ]


def _test(operator: str, key: str, value: Any) -> str:
    if operator == "Null":
        return f"`{key}` is {'absent' if value == 'true' else 'there'}"
    each = "every one of " if operator.startswith("ForAllValues:") else ""
    plain = operator.removeprefix("ForAllValues:")
    verb = {"StringEquals": "is", "Bool": "is", "StringLike": "is like", "ArnLike": "is like"}[plain]
    return f"{each}`{key}` {verb} {_words(value)}"


def _words(node: Any) -> str:
    """Return a value as it stands in the template, several with "or" between."""
    return " or ".join(f"`{text}`" for text in dict.fromkeys(_texts(node)))


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _texts(item)
        return
    if not isinstance(node, dict):
        yield str(node)
        return
    ((function, argument),) = node.items()
    if function == "Ref":
        yield from [] if argument == "AWS::NoValue" else [f"${{{argument}}}"]
    elif function == "Fn::GetAtt":
        yield f"${{{get_att(node)}}}"
    elif function == "Fn::Sub":
        yield from _substituted(argument)
    elif function == "Fn::If":
        yield from _texts(argument[1:])
    elif function == "Fn::FindInMap":
        yield f"${{{argument[0]}.{argument[2]}}}"
    else:
        # A part that is cut out of a parameter: its name says enough.
        yield from dict.fromkeys(
            f"${{{inner['Ref']}}}" if "Ref" in inner else inner["Fn::Sub"].rstrip(",")
            for _, inner in walk(argument)
            if isinstance(inner, dict) and ("Ref" in inner or isinstance(inner.get("Fn::Sub"), str))
        )


def _substituted(argument: Any) -> Iterator[str]:
    if isinstance(argument, str):
        yield argument
        return
    text, names = argument
    for name, node in names.items():
        inserted = [*dict.fromkeys(_texts(node))]
        if len(inserted) == 1 and inserted[0].startswith("${"):
            continue
        for part in inserted[:1]:
            text = text.replace(f"${{{name}}}", part)
    yield text


def _resource_policies(templates: Templates) -> Iterator[str]:
    yield "| policy | who | may | on | condition |"
    yield "|---|---|---|---|---|"
    for kind, document in RESOURCE_POLICIES.items():
        for stem, template in templates.items():
            for name, resource in resources(template, kind).items():
                for condition, statement in _conditional(resource[document]):
                    on = "itself" if kind == "AWS::KMS::Key" else _on(statement)
                    who, what = _principal(statement), _what(statement)
                    yield f"| {stem} {name} | {who} | {what} | {on} | {_when(condition, statement)} |"
    for stem, template in templates.items():
        for name, permission in resources(template, "AWS::Lambda::Permission").items():
            source = f"from {_words(permission['SourceArn'])} of {_words(permission['SourceAccount'])}"
            who, function = _words(permission["Principal"]), _words(permission["FunctionName"])
            yield f"| {stem} {name} | {who} | `{permission['Action']}` | {function} | {source} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(load_templates()), encoding="utf-8")


if __name__ == "__main__":
    main()
