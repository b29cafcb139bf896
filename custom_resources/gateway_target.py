"""`Custom::GatewayTarget`: an MCP server registered with an AgentCore gateway, probed, READY and in sync.

What the native type can't do and this does: ask the endpoint first, adopt what an earlier attempt of this
same resource left, recover a FAILED target, re-synchronise the tools on every Update, report `statusReasons`,
and leave nothing behind. Shapes and limits are those of botocore's model of bedrock-agentcore-control.
"""

import hashlib
import logging
import re
from dataclasses import dataclass
from typing import Any

from custom_resources.errors import DeadlineReached, PropertyError, ResourceError
from custom_resources.issuers import IssuerError
from custom_resources.lifecycle import Attributes, Request, Resource, Runtime, lambda_handler_for
from custom_resources.mcp_probe import ProbeError, Sign, bearer, list_tools
from custom_resources.ownership import Owner
from custom_resources.properties import Raw, Update, choice, json_list, required_text, text
from custom_resources.targets import PENDING_AUTH, GatewayMissing, Target, Targets
from custom_resources.tokens import TokenSource, bearer_token
from custom_resources.waiting import Deadline, poll

logger = logging.getLogger(__name__)

GATEWAY_PATTERN = r"([0-9a-z]-?){1,100}-[0-9a-z]{10}"
NAME_PATTERN = r"([0-9a-zA-Z]-?){1,100}"
_PHYSICAL_ID = re.compile(rf"(?P<gateway>{GATEWAY_PATTERN})\|(?P<name>{NAME_PATTERN})")

# Kept of the function's time for removing what was made.
CLEAN_UP_SECONDS = 60.0
CLEAN_UP_SHARE = 0.25
# The probe's part of the time: a young distribution and its DNS name need a while.
PROBE_SHARE = 1 / 3
LONGEST_PROBE = 300.0
LONGEST_EXCHANGE = 30.0
FINAL_ANSWERS = 3
CONFLICT_SECONDS = 120.0
# Bedrock's Converse API takes tool names up to this long.
LONGEST_TOOL_NAME = 64
# What a target without credentials is reported with, as the response must name one.
NO_CREDENTIALS: tuple[list[Any], ...] = ([], [{"credentialProviderType": "GATEWAY_IAM_ROLE"}])
UNKNOWN = "unknown"
# Tools that a reason names, which has 240 characters.
MOST_NAMED = 3
LONGEST_CHALLENGE = 80


@dataclass(frozen=True)
class GatewayTargetProperties:
    """Properties of `Custom::GatewayTarget`."""

    gateway_identifier: str = text(
        GATEWAY_PATTERN,
        "a gateway's id (not its ARN), such as tools-a1b2c3d4e5",
        description="Id of the gateway.",
        update=Update.REPLACEMENT,
    )
    name: str = text(
        NAME_PATTERN,
        "1 to 100 letters, digits and single hyphens (no underscores)",
        description="Name of the target. Clients see tools as `<Name>___<tool>`; many take 64 characters.",
        update=Update.REPLACEMENT,
    )
    endpoint: str = text(
        r"https://[^\s/?#@]+(/[^\s#]*)?",
        "an https:// address without user name or fragment, such as https://host/mcp",
        secret=True,
        description="Address of the server's MCP path, registered as it is.",
    )
    image_digest: str = text(
        r"\S{0,300}",
        "an image digest",
        default="",
        description=(
            "Digest of the server's image. Only its change matters: it makes an Update, "
            "and every Update synchronises the tools."
        ),
    )
    listing_mode: str = choice(
        "DEFAULT",
        "DYNAMIC",
        default="DEFAULT",
        description=(
            "With `DEFAULT` the gateway keeps the tools it read, with `DYNAMIC` it asks the server each time."
        ),
    )
    credential_provider_configurations: tuple[dict[str, Any], ...] = json_list(
        "a list of one object with credentialProviderType, as CreateGatewayTarget takes it",
        at_most=1,
        description="How the gateway proves itself to the server, as CreateGatewayTarget takes it.",
    )
    discovery_url: str = text(
        r"(https://[^\s?#@]+/\.well-known/openid-configuration)?",
        "an https:// address that ends in /.well-known/openid-configuration",
        default="",
        description=(
            "Discovery document of the issuer that the OAuth credential provider has. With it and "
            "`ClientSecretArn` the probe shows a token such as the gateway's."
        ),
    )
    client_secret_arn: str = text(
        r"(arn:[\w-]+:secretsmanager:\S{1,1900})?",
        "the ARN of a secret",
        default="",
        description="Secret with the provider's client, as JSON with `client_id` and `client_secret`.",
    )

    def __post_init__(self) -> None:
        """Refuse half of what a token takes."""
        if bool(self.discovery_url) != bool(self.client_secret_arn):
            missing = "ClientSecretArn" if self.discovery_url else "DiscoveryUrl"
            raise PropertyError(
                f"Property {missing}: is missing; a token takes DiscoveryUrl and ClientSecretArn"
            )

    @property
    def token_source(self) -> TokenSource | None:
        """Where a token such as the gateway's comes from; None where it shows none, or that isn't said."""
        if not self.discovery_url:
            return None
        for configuration in self.credential_provider_configurations:
            provider = configuration.get("credentialProvider", {}).get("oauthCredentialProvider")
            if provider is not None:
                scopes = tuple(provider.get("scopes", ()))
                parameters = provider.get("customParameters", {})
                return TokenSource(self.discovery_url, self.client_secret_arn, scopes, parameters)
        return None

    @property
    def configuration(self) -> dict[str, Any]:
        """The targetConfiguration of the API."""
        return {"mcp": {"mcpServer": {"endpoint": self.endpoint, "listingMode": self.listing_mode}}}

    def definition(self, owner: Owner) -> dict[str, Any]:
        """Return what CreateGatewayTarget and UpdateGatewayTarget share; an update resets all else."""
        definition: dict[str, Any] = {
            "name": self.name,
            "description": owner.description(),
            "targetConfiguration": self.configuration,
        }
        # The service refuses an empty list.
        if self.credential_provider_configurations:
            definition["credentialProviderConfigurations"] = list(self.credential_provider_configurations)
        return definition

    def describes(self, target: Target) -> bool:
        """Whether the target is configured like this; values the service filled in don't count."""
        if self.credential_provider_configurations:
            same_credentials = _contains(target.credentials, list(self.credential_provider_configurations))
        else:
            same_credentials = target.credentials in NO_CREDENTIALS
        server = target.configuration.get("mcp", {}).get("mcpServer", {})
        return (
            same_credentials
            and server.get("endpoint") == self.endpoint
            and server.get("listingMode", "DEFAULT") == self.listing_mode
        )

    def same_configuration(self, other: "GatewayTargetProperties") -> bool:
        """Whether both describe the same target configuration."""
        return (
            self.configuration == other.configuration
            and self.credential_provider_configurations == other.credential_provider_configurations
        )


class GatewayTarget(Resource[GatewayTargetProperties]):
    """Registers an MCP server as a target of an AgentCore gateway, and keeps its tools in step with it.

    `AWS::BedrockAgentCore::GatewayTarget` exists. This type adds: a probe of the endpoint before anything is
    made, a synchronisation on every Update (a new image changes tools without changing a property of the
    native type), recovery of a FAILED target, adoption of what an interrupted attempt left, and reasons that
    say what to do.

    The probe is `initialize` of MCP 2025-11-25, `notifications/initialized`, and `tools/list` to the last
    page. It is repeated for up to a third of the function's time, 300 seconds at most. Where the gateway
    shows a token, the probe gets one of the same client: AgentCore gives its own to the gateway alone.

    The target's description carries a mark made of the stack's id and the logical id. A target without this
    mark is neither changed nor deleted.
    """

    model = GatewayTargetProperties
    attributes = {  # noqa: RUF012 - ClassVar in the base
        "TargetId": "Id of the target.",
        "TargetName": "Its name.",
        "ToolCount": "Number of tools the probe saw; `unknown` where the server wants a token it can't get.",
        "ToolNamesHash": "SHA-256 of the sorted tool names, one a line; `unknown` likewise.",
        "LastSynchronizedAt": "ISO 8601 time at which the gateway last read the tools.",
    }
    failures = {  # noqa: RUF012
        "the name doesn't resolve": "check the DNS record, or wait for the distribution",
        "TLS failed": "check that the certificate covers the host name",
        "no answer in time, the connection failed": "check that tasks run, and the security groups",
        "answered HTTP 4xx or 5xx": (
            "what follows in the reason tells: web ACL, path, token, health of the target group"
        ),
        "isn't an MCP server": "check the path; something else answers there",
        "isn't this stack's": "choose another `Name`, or delete the target its owner no longer needs",
        "PENDING_AUTH": "use a credential provider with the `CLIENT_CREDENTIALS` grant",
        "FAILED, UNSUCCESSFUL": "the gateway's own `statusReasons` follow",
        "Gateways have refused schemas with $ref": (
            "write the named tools' schemas out in place; the project's own server does so in every listing"
        ),
        "time ended": "raise the function's `Timeout`, or look why the gateway is slow",
    }

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        # Tools whose schemas point elsewhere, with the words that do.
        self._referring: dict[str, str] = {}

    @staticmethod
    def identify(raw: Raw) -> str:
        """Return `<GatewayIdentifier>|<Name>`: known before the target is, and enough to find it."""
        return f"{required_text(raw, 'GatewayIdentifier')}|{required_text(raw, 'Name')}"

    def create(self, request: Request, properties: GatewayTargetProperties) -> Attributes:
        """Register the server, or adopt the target an earlier delivery of this request left."""
        return self._converge(request, properties, None)

    def update(
        self, request: Request, properties: GatewayTargetProperties, previous: GatewayTargetProperties | None
    ) -> Attributes:
        """Replace the configuration where it differs, else only synchronise; make a missing target anew."""
        return self._converge(request, properties, previous)

    def delete(self, request: Request, properties: GatewayTargetProperties | None) -> None:
        """Delete the target if it carries this resource's mark.

        CloudFormation makes up an id for a Create it gave up on, whose target may exist all the same: then
        the properties say where to look.
        """
        address = _PHYSICAL_ID.fullmatch(request.physical_resource_id)
        if address is not None:
            gateway_id, name = address["gateway"], address["name"]
        elif properties is not None:
            gateway_id, name = properties.gateway_identifier, properties.name
        else:
            logger.info("Nothing was registered under %s", request.physical_resource_id)
            return
        targets = Targets(self.runtime.clients.gateway(), gateway_id, self.runtime.deadline)
        try:
            target = targets.find(name)
        except GatewayMissing:
            logger.info("Gateway %s is gone, and its targets with it", gateway_id)
            return
        if target is None:
            logger.info("Target %s of %s is gone already", name, gateway_id)
        elif not _owner(request).owns(target.description):
            logger.warning(
                "Target %s of %s isn't this resource's and stays: %s", name, gateway_id, target.description
            )
        elif request.is_older_than(target.made_at):
            logger.warning("Target %s of %s was made after this Delete and stays", name, gateway_id)
        else:
            self.runtime.doing(f"deleting target {name} of {gateway_id}")
            targets.remove(target.id)

    def _converge(
        self, request: Request, properties: GatewayTargetProperties, previous: GatewayTargetProperties | None
    ) -> Attributes:
        deadline = self.runtime.deadline
        work = deadline.earlier_by(min(CLEAN_UP_SECONDS, deadline.remaining() * CLEAN_UP_SHARE))
        tools = self._probe(properties, work)
        targets = Targets(self.runtime.clients.gateway(), properties.gateway_identifier, work)
        owner = _owner(request)
        existing = self._find_usable(targets, owner, properties)
        if existing is None:
            target = self._create(targets, request, properties)
        else:
            target = self._refresh(targets, owner, existing, properties, previous)
        return _attributes(target, tools)

    def _probe(self, properties: GatewayTargetProperties, work: Deadline) -> tuple[str, ...] | None:
        """Return the server's tool names; None where it wants a token that the probe can't get."""
        self.runtime.doing(f"probing {properties.endpoint.partition('?')[0]}")
        deadline = work.share(PROBE_SHARE, at_most=LONGEST_PROBE)
        source = properties.token_source
        failures: list[ProbeError | IssuerError] = []
        signs: list[Sign] = []

        def attempt() -> tuple[tuple[str, ...] | None] | None:
            seconds = max(1.0, min(LONGEST_EXCHANGE, deadline.remaining()))
            try:
                if source is not None and not signs:
                    signs.append(bearer(bearer_token(self.runtime, source, seconds)))
                self._referring.clear()
                return (list_tools(properties.endpoint, seconds, *signs, referring=self._referring),)
            except IssuerError as error:
                # The user pool's domain is as young as the stack: it passes, or the deadline ends it.
                logger.info("Probe: %s", error)
                failures.append(error)
                return None
            except ProbeError as error:
                logger.info("Probe: %s", error)
                refused = error.status in {401, 403}
                if refused and source is None and properties.credential_provider_configurations:
                    return (None,)
                if refused and source is not None:
                    failures.append(_token_refused(error))
                else:
                    failures.append(error)
                latest = failures[-FINAL_ANSWERS:]
                if len(latest) == FINAL_ANSWERS and all(getattr(one, "final", False) for one in latest):
                    raise failures[-1] from error
                return None

        try:
            names = poll(attempt, deadline, lambda: str(failures[-1]))[0]
        except DeadlineReached as error:
            raise ResourceError(f"The endpoint didn't answer as an MCP server: {error}") from failures[-1]
        self._check_names(properties.name, names)
        return names

    def _check_names(self, target_name: str, names: tuple[str, ...] | None) -> None:
        if names is None:
            logger.info("The server asks for credentials, so its tools are left for the gateway to read")
            return
        logger.info("The server has %d tools", len(names))
        for name in names:
            full = f"{target_name}___{name}"
            if len(full) > LONGEST_TOOL_NAME:
                logger.warning(
                    "Tool %s will be %d characters long, many clients take %d: shorten the target's name",
                    full,
                    len(full),
                    LONGEST_TOOL_NAME,
                )

    def _find_usable(
        self, targets: Targets, owner: Owner, properties: GatewayTargetProperties
    ) -> Target | None:
        """Return this resource's target once nothing is in progress on it; a FAILED one is removed first."""
        found = targets.find(properties.name)
        if found is None:
            return None
        if not owner.owns(found.description):
            raise ResourceError(
                f"Gateway {properties.gateway_identifier} has a target {properties.name} that isn't "
                f"this stack's; choose another Name or delete it: {found.description or 'not described'}"
            )
        self.runtime.doing(f"waiting for target {properties.name}, which is {found.status}")
        target = targets.settle(found.id)
        if target is None:
            return None
        if target.status in PENDING_AUTH:
            raise _pending_auth(target)
        if target.status == "FAILED":
            logger.info("Target %s is made anew; it was %s", target.name, target.state())
            self.runtime.doing(f"removing the failed target {target.name}")
            targets.remove(target.id)
            return None
        return target

    def _create(self, targets: Targets, request: Request, properties: GatewayTargetProperties) -> Target:
        owner = _owner(request)
        self.runtime.doing(f"creating target {properties.name}")
        try:
            target_id, existing = self._request_creation(targets, request, properties)
            if existing is None:
                return self._await_creation(targets, request, properties, target_id)
        except Exception as error:
            self._clean_up(owner, properties, error)
            raise
        return self._refresh(targets, owner, existing, properties, None)

    def _await_creation(
        self, targets: Targets, request: Request, properties: GatewayTargetProperties, target_id: str
    ) -> Target:
        self.runtime.doing(f"waiting for target {properties.name} to be READY")
        target = targets.settle(target_id)
        if target is None:
            # The client token of an earlier delivery answers with what that delivery made and removed.
            target_id, _ = self._request_creation(targets, request, properties, salt=target_id)
            target = targets.settle(target_id)
        return self._require_ready(target, properties.name, "creating")

    def _request_creation(
        self, targets: Targets, request: Request, properties: GatewayTargetProperties, salt: str = ""
    ) -> tuple[str, Target | None]:
        """Return the id of the target asked for; with it the target, where this resource had one already."""
        owner = _owner(request)
        seed = (request.stack_id, request.logical_resource_id, request.request_id, salt)
        token = hashlib.sha256("\n".join(seed).encode()).hexdigest()

        def attempt() -> tuple[str, Target | None] | None:
            target_id = targets.create(properties.definition(owner), token)
            if target_id is not None:
                return target_id, None
            existing = self._find_usable(targets, owner, properties)
            # A conflict with nothing to be found is another change of the gateway, which passes.
            return None if existing is None else (existing.id, existing)

        return poll(
            attempt,
            targets.deadline.share(1, at_most=CONFLICT_SECONDS),
            lambda: f"Gateway {properties.gateway_identifier} refuses target {properties.name} as a conflict",
        )

    def _clean_up(self, owner: Owner, properties: GatewayTargetProperties, cause: Exception) -> None:
        """Remove this resource's target after a failed creation; what stays is named in the reason."""
        self.runtime.doing(f"removing target {properties.name} again")
        targets = Targets(
            self.runtime.clients.gateway(), properties.gateway_identifier, self.runtime.deadline
        )
        try:
            target = targets.find(properties.name)
            if target is not None and owner.owns(target.description):
                targets.remove(target.id)
        except Exception as error:
            logger.exception("Target %s couldn't be removed again", properties.name)
            raise ResourceError(
                f"(Target {properties.name} couldn't be removed again: {type(error).__name__}.) {cause}"
            ) from cause

    def _refresh(
        self,
        targets: Targets,
        owner: Owner,
        target: Target,
        properties: GatewayTargetProperties,
        previous: GatewayTargetProperties | None,
    ) -> Target:
        is_dynamic = properties.listing_mode == "DYNAMIC"
        is_broken = target.status == "UPDATE_UNSUCCESSFUL" or (is_dynamic and target.status != "READY")
        is_changed = previous is not None and not properties.same_configuration(previous)
        if is_broken or is_changed or not properties.describes(target):
            self.runtime.doing(f"updating target {target.name}")
            targets.update(target.id, properties.definition(owner))
            return self._require_ready(targets.settle(target.id), target.name, "updating")
        if is_dynamic:
            logger.info("Target %s lists its tools live: nothing to synchronise", target.name)
            return self._require_ready(target, target.name, "checking")
        self.runtime.doing(f"synchronising target {target.name}")
        targets.synchronize(target.id)
        return self._require_ready(targets.settle(target.id), target.name, "synchronising")

    def _require_ready(self, target: Target | None, name: str, action: str) -> Target:
        if target is None:
            raise ResourceError(f"Target {name} was deleted by someone else while {action} it; deploy again")
        if target.status in PENDING_AUTH:
            raise _pending_auth(target)
        if target.status != "READY":
            raise ResourceError(f"{self._suspicion()}After {action} it, target {name} is {target.state()}")
        return target

    def _suspicion(self) -> str:
        """Return which tools a gateway may have refused for their schemas, "" where there are none."""
        if not self._referring:
            return ""
        tools = ", ".join(sorted(self._referring)[:MOST_NAMED])
        words = next(iter(self._referring.values()))
        return f"(Gateways have refused schemas with {words}; write them out in place: {tools}.) "


def _owner(request: Request) -> Owner:
    return Owner(request.stack_id, request.logical_resource_id)


def _token_refused(error: ProbeError) -> ProbeError:
    said = f": {error.challenge[:LONGEST_CHALLENGE]}" if error.challenge else ""
    return ProbeError(
        error.cause,
        f"The server refuses the gateway's token (HTTP {error.status}); compare its AUTH_ settings with the "
        f"issuer, client and scopes here{said}",
        status=error.status,
        final=error.final,
    )


def _pending_auth(target: Target) -> ResourceError:
    return ResourceError(
        f"Target {target.name} is {target.status}: its OAuth provider waits for a person's consent, "
        "which a stack can't give. Use a provider with the CLIENT_CREDENTIALS grant"
    )


def _attributes(target: Target, tools: tuple[str, ...] | None) -> Attributes:
    return {
        "TargetId": target.id,
        "TargetName": target.name,
        "ToolCount": UNKNOWN if tools is None else str(len(tools)),
        "ToolNamesHash": UNKNOWN if tools is None else hashlib.sha256("\n".join(tools).encode()).hexdigest(),
        "LastSynchronizedAt": target.synchronized_at,
    }


def _contains(actual: Any, wanted: Any) -> bool:
    """Whether everything of `wanted` is in `actual`, which may say more."""
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(
            key in actual and _contains(actual[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(wanted)
            and all(_contains(one, other) for one, other in zip(actual, wanted, strict=True))
        )
    return bool(actual == wanted)


handler = lambda_handler_for(GatewayTarget)
