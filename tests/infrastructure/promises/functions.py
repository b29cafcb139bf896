"""What the templates promise of custom resources and the functions behind them."""

from tests.infrastructure.cloudformation import (
    Templates,
    all_resources,
    dependencies,
    get_att,
    resources,
    walk,
)
from tests.infrastructure.promises.registry import containers, differences, only, promise


@promise
def custom_resources_outlive_their_functions(templates: Templates) -> list[str]:
    """ServiceTimeout is longer than the function's Timeout, so that the function's own report arrives."""
    breaches = []
    for stem, template in templates.items():
        for name, properties in resources(template, "Custom::*").items():
            function = str(get_att(properties["ServiceToken"])).removesuffix(".Arn")
            timeout = template["Resources"][function]["Properties"]["Timeout"]
            if not int(properties.get("ServiceTimeout", 0)) > timeout:
                breaches.append(f"{stem}.{name} gives up before its function does")
    return breaches


HANDLERS = {
    "Custom::ClientSecret": "custom_resources.client_secret.handler",
    "Custom::ContainerImage": "custom_resources.container_image.handler",
    "Custom::EdgeAccessLog": "custom_resources.edge_access_log.handler",
    "Custom::EdgeCertificate": "custom_resources.edge_certificate.handler",
    "Custom::EdgeWebAcl": "custom_resources.edge_web_acl.handler",
    "Custom::Emptied": "custom_resources.emptied.handler",
    "Custom::GatewayTarget": "custom_resources.gateway_target.handler",
    "Custom::ListenerRule": "custom_resources.listener_rule.handler",
    "Custom::ToolCall": "custom_resources.tool_call.handler",
    "Custom::ManagedPrefixList": "custom_resources.managed_prefix_list.handler",
    "Custom::SigningKeys": "custom_resources.signing_keys.handler",
}


@promise
def functions_come_from_the_bundle(templates: Templates) -> list[str]:
    """One zip, addressed by the bundle's parameters, and the handler that goes with the resource."""
    breaches = []
    for stem, template in templates.items():
        for name, properties in resources(template, "Custom::*").items():
            function_id = str(get_att(properties["ServiceToken"])).removesuffix(".Arn")
            function = template["Resources"][function_id]["Properties"]
            handler = HANDLERS[template["Resources"][name]["Type"]]
            breaches += differences(f"handler of {stem}.{name}", function["Handler"], handler)
    code = {
        "S3Bucket": {"Ref": "ArtifactBucket"},
        "S3Key": {"Fn::Sub": "${ArtifactPrefix}functions/custom-resources.zip"},
    }
    for name, function in all_resources(templates, "AWS::Lambda::Function"):
        breaches += differences(f"code of {name}", function["Code"], code)
        breaches += differences(f"runtime of {name}", function["Runtime"], "python3.13")
        breaches += differences(f"architecture of {name}", function["Architectures"], ["arm64"])
    return breaches


@promise
def a_deploy_ends_with_a_call(templates: Templates) -> list[str]:
    """Once the target is registered a tool is called through the gateway, and again for each new version."""
    call = only(templates["registration"], "Custom::ToolCall")
    breaches = differences(
        "what the call waits for", call["TargetName"], {"Fn::GetAtt": ["GatewayTarget", "TargetName"]}
    )
    revision = str(call.get("Revision"))
    breaches += [
        f"{name} makes no call" for name in ("ImageDigest", "ArtifactPrefix") if name not in revision
    ]
    return breaches


@promise
def the_registration_comes_last(templates: Templates) -> list[str]:
    """The target is registered once the server can be reached, and again for each new image."""
    root = templates["main"]
    missing = {"Fargate", "CloudFront", "Ecr"} - dependencies(root, "Registration")
    breaches = [f"Registration doesn't wait for {name}" for name in sorted(missing)]
    target = only(templates["registration"], "Custom::GatewayTarget")
    breaches += differences("ImageDigest", target.get("ImageDigest"), {"Ref": "ImageDigest"})
    return breaches + differences("Endpoint", target.get("Endpoint"), {"Ref": "ServerUrl"})


@promise
def children_wait_for_no_more_than_they_use(templates: Templates) -> list[str]:
    """Network and image start at once; only tasks wait for the way out; the edge deploys as they start."""
    expected: dict[str, set[str]] = {
        "Network": set(),
        "Outbound": {"Network"},
        "Ecr": set(),
        "Alb": {"Network"},
        "Auth": {"Network"},
        "RollbackAlarms": {"Alb"},
        "LoadBalancerWaf": {"Alb"},
        "SmokeTest": {"Network", "Alb", "Auth"},
        "Fargate": {"Outbound", "Ecr", "Alb", "Auth", "SmokeTest", "RollbackAlarms"},
        "Waf": set(),
        "Certificate": set(),
        "CloudFront": {"Alb", "Waf", "Certificate"},
        "EdgeLog": {"CloudFront"},
        "AgentCore": {"Auth"},
        "Registration": {"Ecr", "Auth", "Fargate", "CloudFront", "AgentCore"},
        "Notification": {"Fargate"},
        "Alarms": {"Notification", "Alb", "Auth", "Fargate", "CloudFront", "AgentCore"},
        "Dashboard": {
            "Alb",
            "Fargate",
            "CloudFront",
            "AgentCore",
            "Notification",
            "Alarms",
            "RollbackAlarms",
        },
    }
    root = templates["main"]
    return [
        breach
        for name in root["Resources"]
        for breach in differences(f"{name} waits for", dependencies(root, name), expected.get(name))
    ]


CALLERS = {
    "AUTH_MODE": "AuthMode",
    "AUTH_ISSUER": "AuthIssuer",
    "AUTH_AUDIENCE": "AuthAudience",
    "AUTH_CLIENT_IDS": "AuthClientIds",
    "AUTH_REQUIRED_SCOPES": "AuthScopes",
    "AUTH_JWKS_URL": "AuthKeysUrl",
    "AUTH_RESOURCE_URL": "ResourceUrl",
}


@promise
def the_server_always_asks_for_tokens(templates: Templates) -> list[str]:
    """No mode without, the audience or the client decides, and the gateway has a token to show."""
    fargate, root = templates["fargate"], templates["main"]
    modes = fargate["Parameters"]["AuthMode"].get("AllowedValues")
    breaches = differences("modes", modes, ["cognito", "jwt"])
    container, *_ = containers(templates)
    environment = {item["Name"]: item["Value"] for item in container["Environment"] if "Name" in item}
    for variable, parameter in CALLERS.items():
        breaches += differences(variable, environment.get(variable), {"Ref": parameter})
    passed = root["Resources"]["Fargate"]["Properties"]["Parameters"]
    breaches += differences("AuthAudience", passed["AuthAudience"], {"Ref": "OidcAudience"})
    for parameter, output in {"AuthMode": "AuthMode", "AuthIssuer": "Issuer", "AuthScopes": "Scopes"}.items():
        breaches += differences(parameter, get_att(passed[parameter]), f"Auth.Outputs.{output}")
    target = only(templates["registration"], "Custom::GatewayTarget")
    (credentials,) = target.get("CredentialProviderConfigurations") or [{}]
    kind = credentials.get("credentialProviderType")
    return breaches + differences("credentials of the target", kind, "OAUTH")


@promise
def machines_alone_get_tokens(templates: Templates) -> list[str]:
    """The user pool has no sign-up; a client has one grant, its own credentials, and one scope."""
    auth = templates["auth"]
    pool = only(auth, "AWS::Cognito::UserPool")
    alone = pool.get("AdminCreateUserConfig", {}).get("AllowAdminCreateUserOnly")
    breaches = differences("AllowAdminCreateUserOnly", alone, True)
    scopes = []
    for name, client in resources(auth, "AWS::Cognito::UserPoolClient").items():
        breaches += differences(f"flows of {name}", client.get("AllowedOAuthFlows"), ["client_credentials"])
        breaches += differences(f"secret of {name}", client.get("GenerateSecret"), True)
        flows = client.get("ExplicitAuthFlows")
        breaches += differences(f"users' flows of {name}", flows, ["ALLOW_REFRESH_TOKEN_AUTH"])
        scopes += client["AllowedOAuthScopes"]
    expected = [{"Fn::Sub": f"${{ProjectName}}/{scope}"} for scope in ("call", "invoke")]
    return breaches + differences("scopes", scopes, expected)


@promise
def secrets_stay_in_secrets_manager(templates: Templates) -> list[str]:
    """No property and no output holds a client's secret, and no secret is written in a template."""
    breaches = []
    for stem, template in templates.items():
        for path, node in walk({key: template.get(key, {}) for key in ("Resources", "Outputs")}):
            if str(get_att(node) or "").endswith(".ClientSecret"):
                breaches.append(f"{stem} shows a client's secret at {'.'.join(map(str, path))}")
            if isinstance(node, dict) and {"SecretString", "ClientSecret"} & set(node):
                breaches.append(f"{stem} writes a secret at {'.'.join(map(str, path))}")
        for name, template_secret in resources(template, "AWS::SecretsManager::Secret").items():
            if "GenerateSecretString" in template_secret:
                breaches.append(f"{stem}.{name} makes up a secret nobody else has")
    config = only(templates["agentcore"], "AWS::BedrockAgentCore::OAuth2CredentialProvider")
    custom = config["Oauth2ProviderConfigInput"]["CustomOauth2ProviderConfig"]
    return breaches + differences("the provider's secret", custom.get("ClientSecretSource"), "EXTERNAL")


@promise
def signing_keys_are_for_the_network_alone(templates: Templates) -> list[str]:
    """The bucket of the issuer's keys is read by one VPC, over TLS, and written by one function."""
    auth = templates["auth"]
    policy = only(auth, "AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
    allowed = [statement for statement in policy if statement["Effect"] == "Allow"]
    conditions = [statement.get("Condition") for statement in allowed]
    expected = [{"StringEquals": {"aws:SourceVpc": {"Ref": "VpcId"}}}]
    breaches = differences("who may read", conditions, expected)
    breaches += differences("what", [statement["Action"] for statement in allowed], ["s3:GetObject"])
    blocked = only(auth, "AWS::S3::Bucket").get("PublicAccessBlockConfiguration", {})
    breaches += differences("public access block", list(blocked.values()), [True] * 4)
    # The schedule goes first on deletion, so that it copies nothing into a bucket that is being emptied.
    if "SigningKeys" not in dependencies(auth, "SigningKeysSchedule"):
        breaches.append("the schedule may outlive the last copy")
    return breaches


@promise
def the_gateway_can_search_and_speaks_every_version(templates: Templates) -> list[str]:
    """Semantic search can be had only at creation, and a name only once in an account."""
    gateway = only(templates["agentcore"], "AWS::BedrockAgentCore::Gateway")
    mcp = gateway["ProtocolConfiguration"]["Mcp"]
    versions = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]
    return (
        differences("SearchType", mcp.get("SearchType"), "SEMANTIC")
        + differences("SupportedVersions", mcp.get("SupportedVersions"), versions)
        + differences("AuthorizerType", gateway["AuthorizerType"], {"Ref": "GatewayAuthorizer"})
        + differences("ProtocolType", gateway.get("ProtocolType"), "MCP")
        + ([] if "AWS::StackId" in str(gateway["Name"]) else ["the gateway's name isn't the stack's own"])
    )
