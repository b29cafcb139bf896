"""The root template refuses parameters that contradict each other, and says why."""

import pytest

from tests.infrastructure.cloudformation import load_templates, parameter_problems, rule_problems

MAIN = load_templates()["main"]
GIVEN = {
    "ArtifactBucket": "bundles",
    "ArtifactPrefix": "my-server/0123456789abcdef/",
    "ProjectName": "my-server",
}
DEV = GIVEN | {"Stage": "dev"}

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
FARGATE_SIZES = {
    "256": {512, 1024, 2048},
    "512": set(range(1024, 4096 + 1, 1024)),
    "1024": set(range(2048, 8192 + 1, 1024)),
    "2048": set(range(4096, 16384 + 1, 1024)),
    "4096": set(range(8192, 30720 + 1, 1024)),
}


def test_the_defaults_are_sound() -> None:
    assert parameter_problems(MAIN, DEV) == []
    assert rule_problems(MAIN, DEV) == []


def test_every_cpu_has_its_rule() -> None:
    assert set(MAIN["Parameters"]["Cpu"]["AllowedValues"]) == set(FARGATE_SIZES)


@pytest.mark.parametrize("cpu", FARGATE_SIZES)
def test_only_sizes_fargate_knows_are_accepted(cpu: str) -> None:
    tried = {512, *range(1024, 32768 + 1, 1024), 1536, 30000}
    accepted = {size for size in tried if not rule_problems(MAIN, DEV | {"Cpu": cpu, "Memory": str(size)})}
    assert accepted == FARGATE_SIZES[cpu]


def test_production_with_one_task_is_refused() -> None:
    production = GIVEN | {"Stage": "prod"}
    assert rule_problems(MAIN, production | {"DesiredCount": "2"}) == []
    (problem,) = rule_problems(MAIN, production | {"DesiredCount": "1"})
    assert "2 or more" in problem


@pytest.mark.parametrize("spot", ["half", "all"])
def test_production_on_spot_is_refused(spot: str) -> None:
    (problem,) = rule_problems(MAIN, GIVEN | {"Stage": "prod", "Spot": spot})
    assert problem.startswith("In prod Spot must be none")
    assert rule_problems(MAIN, GIVEN | {"Stage": "staging", "Spot": spot}) == []


def test_service_connect_needs_room_for_its_proxy() -> None:
    (problem,) = rule_problems(MAIN, DEV | {"ServiceConnect": "true"})
    assert "512 or more" in problem
    assert rule_problems(MAIN, DEV | {"ServiceConnect": "true", "Cpu": "512", "Memory": "1024"}) == []


COLLECTOR = "ecr-public/aws-observability/aws-otel-collector@sha256:" + "0" * 64


def test_a_trace_collector_needs_traces_and_room() -> None:
    traced = {"TraceCollector": COLLECTOR, "Tracing": "true", "Cpu": "512", "Memory": "1024"}
    assert rule_problems(MAIN, DEV | traced) == []
    (problem,) = rule_problems(MAIN, DEV | traced | {"Tracing": "false"})
    assert "the spans that Tracing makes" in problem
    (problem,) = rule_problems(MAIN, DEV | traced | {"Cpu": "256", "Memory": "512"})
    assert "1024 or more" in problem


CERTIFICATE = "arn:aws:acm:us-east-1:000000000000:certificate/11111111-2222-3333-4444-555555555555"
ORIGIN = {
    "LoadBalancerCertificateArn": CERTIFICATE.replace("us-east-1", "eu-west-1"),
    "LoadBalancerDomainName": "origin.example.com",
}


@pytest.mark.parametrize("name", ORIGIN)
def test_a_certificate_of_the_load_balancer_goes_with_its_name(name: str) -> None:
    (problem,) = rule_problems(MAIN, DEV | {name: ORIGIN[name]})
    assert all(one in problem for one in ORIGIN)
    assert parameter_problems(MAIN, DEV | ORIGIN) == rule_problems(MAIN, DEV | ORIGIN) == []


SECRET = "API_KEY=arn:aws:secretsmanager:eu-west-1:000000000000:secret:weather/key-AbCdEf"
PARAMETER = "LIMIT=arn:aws-cn:ssm:cn-north-1:000000000000:parameter/weather/limit"


def test_a_maximum_below_the_desired_count_is_refused() -> None:
    largest = MAIN["Parameters"]["DesiredCount"]["MaxValue"]
    for desired in range(1, largest + 1):
        for maximum in range(1, largest + 3):
            counts = {"DesiredCount": str(desired), "MaxCount": str(maximum)}
            assert bool(rule_problems(MAIN, DEV | counts)) == (desired > maximum), counts


EXISTING = {
    "ExistingVpcId": "vpc-0123456789abcdef0",
    "ExistingSubnetIds": "subnet-0123456789abcdef0,subnet-1123456789abcdef0",
}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"ExistingVpcId": EXISTING["ExistingVpcId"]}, "ExistingVpcId needs ExistingSubnetIds"),
        ({"ExistingSubnetIds": EXISTING["ExistingSubnetIds"]}, "Give both, or neither"),
        ({**EXISTING, "Zones": "3"}, "Zones is of a VPC that the stack makes"),
        ({**EXISTING, "Egress": "single-nat"}, "whichever way out that VPC has"),
        ({**EXISTING, "StsEndpoint": "true"}, "Add it to ExistingVpcId yourself"),
        ({"StsEndpoint": "true", "Egress": "nat"}, "NAT reaches STS without"),
        ({"AWS::Region": "us-west-1", "Zones": "3"}, "only two zones"),
    ],
)
def test_network_parameters_that_contradict_each_other_are_refused(
    values: dict[str, str], complaint: str
) -> None:
    (problem,) = rule_problems(MAIN, DEV | values)
    assert complaint in problem


@pytest.mark.parametrize(
    "values",
    [
        EXISTING,
        {**EXISTING, "Egress": "nat"},
        {"Zones": "3"},
        {"Zones": "3", "Egress": "single-nat"},
        {"StsEndpoint": "true"},
        {"AWS::Region": "us-west-1"},
        {"AWS::Region": "us-west-1", **EXISTING},
    ],
)
def test_network_parameters_that_go_together_are_accepted(values: dict[str, str]) -> None:
    assert rule_problems(MAIN, DEV | values) == []


CERTIFICATE = "arn:aws:acm:us-east-1:000000000000:certificate/11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"HostedZoneId": "Z1"}, "HostedZoneId says where DomainName's records go"),
        ({"CertificateArn": CERTIFICATE}, "CertificateArn is the certificate of DomainName"),
        ({"WebAcl": "false"}, "The endpoint is on the internet, so WebAcl must be true"),
        ({"AllowedCountries": "DE", "BlockedCountries": "US"}, "not both"),
    ],
)
def test_edge_parameters_that_contradict_each_other_are_refused(
    values: dict[str, str], complaint: str
) -> None:
    (problem,) = rule_problems(MAIN, DEV | values)
    assert complaint in problem


ISSUER = {
    "OidcIssuer": "https://idp.example.com/",
    "OidcDiscoveryUrl": "https://idp.example.com/.well-known/openid-configuration",
    "OidcAudience": "https://mcp.example.com",
    "OidcClientId": "gateway",
    "OidcClientSecretArn": "arn:aws:secretsmanager:us-east-1:000000000000:secret:gateway-AbCdEf",
}
BESIDE_AN_ISSUER = {**ISSUER, "OidcScopes": "call,read", "OidcAudienceParameter": "audience"}


@pytest.mark.parametrize("name", [name for name in ISSUER if name != "OidcIssuer"])
def test_half_an_issuer_is_refused(name: str) -> None:
    (problem,) = rule_problems(MAIN, DEV | {key: value for key, value in ISSUER.items() if key != name})
    assert problem.startswith(f"OidcIssuer needs {name}")


@pytest.mark.parametrize("name", [name for name in BESIDE_AN_ISSUER if name != "OidcIssuer"])
def test_what_belongs_to_an_issuer_is_refused_without_it(name: str) -> None:
    (problem,) = rule_problems(MAIN, DEV | {name: BESIDE_AN_ISSUER[name]})
    assert problem.startswith(name)


@pytest.mark.parametrize("values", [ISSUER, BESIDE_AN_ISSUER, {"GatewayAuthorizer": "CUSTOM_JWT"}])
def test_a_whole_issuer_is_accepted(values: dict[str, str]) -> None:
    assert parameter_problems(MAIN, DEV | values) == []
    assert rule_problems(MAIN, DEV | values) == []


def test_an_existing_gateway_keeps_its_authorizer() -> None:
    values = {"GatewayIdentifier": "tools-abcde12345", "GatewayAuthorizer": "CUSTOM_JWT"}
    (problem,) = rule_problems(MAIN, DEV | values)
    assert "has its own" in problem


@pytest.mark.parametrize(
    "values",
    [
        {"DomainName": "mcp.example.com"},
        {"DomainName": "mcp.example.com", "HostedZoneId": "Z1"},
        {"DomainName": "mcp.example.com", "CertificateArn": CERTIFICATE},
        {"DomainName": "mcp.example.com", "CertificateArn": CERTIFICATE, "HostedZoneId": "Z1"},
        {"AllowedCountries": "DE,US"},
    ],
)
def test_edge_parameters_that_go_together_are_accepted(values: dict[str, str]) -> None:
    assert rule_problems(MAIN, DEV | values) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ArtifactBucket", "has.dots"),
        ("ArtifactPrefix", "no-slash-at-the-end"),
        ("ArtifactPrefix", "/leading/"),
        ("ProjectName", "Upper"),
        ("ProjectName", "double--hyphen"),
        ("ProjectName", "a" * 40),
        ("Stage", "test"),
        ("VpcCidr", "10.0.0.0/22"),
        ("Zones", "1"),
        ("ExistingVpcId", "vpc-none"),
        ("ExistingSubnetIds", "subnet-01234567"),
        ("ExistingSubnetIds", "subnet-01234567, subnet-89abcdef"),
        ("FlowLogs", "yes"),
        ("StsEndpoint", "yes"),
        ("Egress", "internet"),
        ("Architecture", "arm64"),
        ("Memory", "lots"),
        ("DesiredCount", "0"),
        ("DesiredCount", "11"),
        ("Stateful", "yes"),
        ("KnowledgeBaseId", "too-short"),
        ("GatewayIdentifier", "arn:aws:bedrock-agentcore:us-east-1:000000000000:gateway/tools-abcde12345"),
        ("GatewayIdentifier", "tools"),
        ("DomainName", "MCP.example.com"),
        ("DomainName", "*.example.com"),
        ("DomainName", "localhost"),
        ("HostedZoneId", "example.com"),
        (
            "CertificateArn",
            "arn:aws:acm:eu-west-1:000000000000:certificate/11111111-2222-3333-4444-555555555555",
        ),
        ("WebAcl", "on"),
        ("RateLimit", "9"),
        ("AllowedCountries", "Germany"),
        ("BlockedCountries", "DE, US"),
        ("AccessLog", "yes"),
        ("AlarmEmail", "nobody"),
        ("Spot", "some"),
        ("Strategy", "CANARY"),
        ("BakeTimeInMinutes", "1441"),
        ("Tracing", "yes"),
        ("TraceCollector", COLLECTOR.partition("@")[0] + ":latest"),
        ("TraceCollector", "public.ecr.aws:443/" + COLLECTOR),
        ("ServiceConnect", "1"),
        ("LoadBalancerCertificateArn", "arn:aws:iam::000000000000:server-certificate/mine"),
        ("LoadBalancerDomainName", "origin"),
        ("SecretArns", SECRET.partition("=")[2]),
        ("SecretArns", "1KEY=" + SECRET.partition("=")[2]),
        ("SecretArns", SECRET + ":json-key::"),
        ("SecretArns", SECRET.replace("secretsmanager", "kms")),
        ("SecretArns", ",".join([SECRET] * 6)),
        ("SecretArns", SECRET + ","),
        ("LogRetentionDays", "31"),
        ("PermissionsBoundary", "developer-boundary"),
        ("PermissionsBoundary", "arn:aws:iam::000000000000:role/developer"),
    ],
)
def test_a_bad_value_is_refused_before_anything_is_created(name: str, value: str) -> None:
    assert parameter_problems(MAIN, DEV | {name: value}) != []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ArtifactPrefix", "my-server/0123456789abcdef/"),
        ("ProjectName", "a" * 39),
        ("VpcCidr", "172.31.0.0/21"),
        ("Egress", "single-nat"),
        ("ExistingVpcId", "vpc-01234567"),
        ("ExistingVpcId", "vpc-0123456789abcdef0"),
        ("ExistingSubnetIds", "subnet-0123456789abcdef0,subnet-1123456789abcdef0"),
        ("ExistingSubnetIds", "subnet-01234567,subnet-89abcdef,subnet-0123456789abcdef0"),
        ("KnowledgeBaseId", "ABCDE12345"),
        ("TraceCollector", COLLECTOR),
        ("GatewayIdentifier", "knowledge-mcp-server-0a1b2c3d-abcde12345"),
        ("DomainName", "mcp.example.co.uk"),
        ("HostedZoneId", "Z0123456789ABCDEFGHIJ"),
        (
            "CertificateArn",
            "arn:aws:acm:us-east-1:000000000000:certificate/11111111-2222-3333-4444-555555555555",
        ),
        ("RateLimit", "2000000000"),
        ("AllowedCountries", "DE"),
        ("BlockedCountries", "DE,US"),
        ("AlarmEmail", "on.call+mcp@example.com"),
        ("LogRetentionDays", "365"),
        ("PermissionsBoundary", "arn:aws:iam::000000000000:policy/teams/developer-boundary"),
        ("PermissionsBoundary", "arn:aws-us-gov:iam::aws:policy/PowerUserAccess"),
        ("Strategy", "BLUE_GREEN"),
        ("BakeTimeInMinutes", "0"),
        ("SecretArns", SECRET),
        ("SecretArns", ",".join([SECRET, PARAMETER, SECRET, PARAMETER, SECRET])),
    ],
)
def test_a_good_value_is_accepted(name: str, value: str) -> None:
    assert parameter_problems(MAIN, DEV | {name: value}) == []


def test_every_constraint_says_what_is_expected() -> None:
    constraints = {"AllowedPattern", "AllowedValues", "MinValue", "MaxValue", "MaxLength", "MinLength"}
    for stem, template in load_templates().items():
        for name, declaration in template["Parameters"].items():
            assert declaration.get("Description"), f"{stem}.{name} has no description"
            if constraints & set(declaration):
                assert declaration.get("ConstraintDescription", "").startswith("must be"), f"{stem}.{name}"


def test_the_console_shows_every_parameter_in_a_group_and_with_a_label() -> None:
    for stem, template in load_templates().items():
        interface = template["Metadata"]["AWS::CloudFormation::Interface"]
        grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
        assert sorted(grouped) == sorted(template["Parameters"]), stem
    assert set(MAIN["Metadata"]["AWS::CloudFormation::Interface"]["ParameterLabels"]) == set(
        MAIN["Parameters"]
    )
