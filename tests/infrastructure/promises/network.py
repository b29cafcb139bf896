"""What the templates promise of addresses, subnets and security groups."""

from collections.abc import Iterator
from typing import Any

from tests.infrastructure.cloudformation import (
    Templates,
    all_resources,
    get_att,
    resources,
    walk,
)
from tests.infrastructure.critical_path.evaluation import made
from tests.infrastructure.promises.registry import SERVER_PORT, TEST_PORT, differences, only, promise
from tests.infrastructure.promises.roles import conditions_of


@promise
def nothing_has_a_public_address(templates: Templates) -> list[str]:
    """Tasks and load balancer are private, and no subnet hands out public addresses."""
    breaches = []
    for name, service in all_resources(templates, "AWS::ECS::Service"):
        assigned = service["NetworkConfiguration"]["AwsvpcConfiguration"].get("AssignPublicIp")
        breaches += differences(f"{name} AssignPublicIp", assigned, "DISABLED")
    for name, subnet in all_resources(templates, "AWS::EC2::Subnet"):
        breaches += differences(f"{name} MapPublicIpOnLaunch", subnet.get("MapPublicIpOnLaunch"), False)
    for name, balancer in all_resources(templates, "AWS::ElasticLoadBalancingV2::LoadBalancer"):
        breaches += differences(f"{name} Scheme", balancer.get("Scheme"), "internal")
    return breaches


NETWORKS = [{"Egress": egress, "Zones": zones} for egress in ("nat", "single-nat") for zones in ("2", "3")]


@promise
def private_subnets_reach_the_internet_only_through_nat(templates: Templates) -> list[str]:
    """With endpoints no route leaves the VPC; with NAT each zone has one, by its own gateway or the one."""
    breaches = []
    for zones in ("2", "3"):
        values = {"Egress": "endpoints", "Zones": zones}
        routes = [
            name
            for stem in ("network", "outbound")
            for name, resource in made(templates[stem], values).items()
            if resource["Type"] in ("AWS::EC2::Route", "AWS::EC2::NatGateway")
        ]
        breaches += differences(f"ways to the internet with endpoints in {zones} zones", routes, [])
    for values in NETWORKS:
        outbound = made(templates["outbound"], values)
        gateways = []
        tables = []
        for name, resource in outbound.items():
            route = resource["Properties"]
            if resource["Type"] == "AWS::EC2::NatGateway":
                breaches += differences(f"subnet of {name}", route["SubnetId"]["Ref"][:6], "Public")
            if resource["Type"] != "AWS::EC2::Route" or route["RouteTableId"] == {"Ref": "PublicRouteTable"}:
                continue
            if "NatGatewayId" not in route or "GatewayId" in route:
                breaches.append(f"{name} leads a private subnet past the NAT gateway")
                continue
            gateways.append(route["NatGatewayId"]["Ref"])
            tables.append(route["RouteTableId"])
        count = int(values["Zones"])
        one_each = [{"Fn::Select": [zone, {"Ref": "PrivateRouteTableIds"}]} for zone in range(count)]
        breaches += differences(f"route tables with a way out with {values}", tables, one_each)
        expected = count if values["Egress"] == "nat" else 1
        breaches += differences(f"NAT gateways used with {values}", len(set(gateways)), expected)
        breaches += differences(f"NAT gateways used with {values}", set(gateways) - set(outbound), set())
    return breaches


@promise
def a_third_zone_is_whole(templates: Templates) -> list[str]:
    """A third zone adds a private subnet with its own range and route table, and the others hear of them."""
    breaches = []
    for zones in (2, 3):
        network = made(templates["network"], {"Zones": str(zones)})
        kinds = [resource["Type"] for resource in network.values()]
        for kind in ("Subnet", "RouteTable", "SubnetRouteTableAssociation"):
            breaches += differences(f"{kind}s in {zones} zones", kinds.count(f"AWS::EC2::{kind}"), zones)
    outputs = templates["network"]["Outputs"]
    for output in ("PrivateSubnetIds", "PrivateRouteTableIds", "AvailabilityZones"):
        third = outputs[output]["Value"]["Fn::Join"][1][2:]
        breaches += differences(
            f"condition of the third of {output}", str(third)[:25], "[{'Fn::If': ['HasThirdZon"
        )
    ranges = [
        str(subnet["CidrBlock"]["Fn::Select"][0])
        for _, subnet in all_resources(templates, "AWS::EC2::Subnet")
        if "CidrBlock" in subnet
    ]
    return breaches + differences("ranges that are used twice", len(ranges) - len(set(ranges)), 0)


# Services that tasks need in any case, where nothing leads to the internet. S3 has its gateway endpoint.
NEEDED_ENDPOINTS = {"ecr.api", "ecr.dkr", "logs"}
# Those that one parameter brings: its value, and the service.
ENDPOINTS_OF_OPTIONS = [
    ("KnowledgeBaseId", "ABCDE12345", "bedrock-agent-runtime"),
    ("SecretArns", "KEY=arn:aws:secretsmanager:eu-west-1:000000000000:secret:key-AbCdEf", "secretsmanager"),
    ("SecretArns", "KEY=arn:aws:ssm:eu-west-1:000000000000:parameter/key", "ssm"),
    ("Tracing", "true", "xray"),
    ("StsEndpoint", "true", "sts"),
]


def _endpoints(templates: Templates, **values: str) -> set[str]:
    """Return the services that interface endpoints are made for."""
    return {
        resource["Properties"]["ServiceName"]["Fn::Sub"].removeprefix("com.amazonaws.${AWS::Region}.")
        for resource in made(templates["outbound"], values).values()
        if resource["Type"] == "AWS::EC2::VPCEndpoint"
        and resource["Properties"]["VpcEndpointType"] == "Interface"
    }


@promise
def endpoints_are_made_where_they_are_needed(templates: Templates) -> list[str]:
    """Each is paid for by the hour: none beside NAT, and those of options only with their option."""
    breaches = differences("endpoints", _endpoints(templates, Egress="endpoints"), NEEDED_ENDPOINTS)
    passed = templates["main"]["Resources"]["Outbound"]["Properties"]["Parameters"]
    for name, value, service in ENDPOINTS_OF_OPTIONS:
        option = {name: value}
        more = _endpoints(templates, Egress="endpoints", **option) - NEEDED_ENDPOINTS
        breaches += differences(f"endpoints with {name}={value}", more, {service})
        breaches += differences(
            f"endpoints with NAT and {name}", _endpoints(templates, Egress="nat", **option), set()
        )
        breaches += differences(f"{name} passed", passed.get(name), {"Ref": name})
    return breaches


@promise
def endpoints_serve_this_account_only(templates: Templates) -> list[str]:
    """Interface endpoints admit this account's principals; S3's also image layers and own objects."""
    account = {"Ref": "AWS::AccountId"}
    breaches = []
    for name, endpoint in all_resources(templates, "AWS::EC2::VPCEndpoint"):
        policy = endpoint.get("PolicyDocument", {})
        if endpoint["VpcEndpointType"] == "Gateway":
            condition, policy, otherwise = policy.get("Fn::If", ["", {}, {}])
            breaches += differences(f"condition of the policy of {name}", condition, "HasEndpoints")
            served = endpoint["RouteTableIds"]
            breaches += differences(f"routes through {name}", served, {"Ref": "PrivateRouteTableIds"})
            breaches += differences(f"policy of {name} beside NAT", otherwise, {"Ref": "AWS::NoValue"})
        statements = policy.get("Statement", [])
        if not statements:
            breaches.append(f"{name} serves everybody")
        for statement in statements:
            if str(statement["Resource"]).endswith("-starport-layer-bucket/*'}"):
                breaches += differences(
                    f"what {name} lets do with layers", statement["Action"], "s3:GetObject"
                )
                continue
            of_ours = conditions_of(statement)
            reads = statement["Action"] == "s3:GetObject" and of_ours.get("aws:ResourceAccount") == account
            if not reads and of_ours.get("aws:PrincipalAccount") != account:
                breaches.append(f"{name} serves principals of other accounts")
    return breaches


@promise
def the_network_is_watched(templates: Templates) -> list[str]:
    """Unless it is switched off, every connection of a VPC that the stack makes is in a log group."""
    flow_log = only(templates["network"], "AWS::EC2::FlowLog")
    return (
        differences("FlowLogs", templates["main"]["Parameters"]["FlowLogs"]["Default"], "true")
        + differences("traffic", flow_log.get("TrafficType"), "ALL")
        + differences("what is watched", flow_log.get("ResourceId"), {"Ref": "Vpc"})
        + differences("log group", flow_log.get("LogGroupName"), {"Ref": "FlowLogLogGroup"})
        + differences("its role", get_att(flow_log.get("DeliverLogsPermissionArn")), "FlowLogRole.Arn")
    )


@promise
def an_existing_network_is_taken_as_it_is(templates: Templates) -> list[str]:
    """With ExistingVpcId no part of a network is made, and its ids reach all that need them."""
    root = made(templates["main"], {"ExistingVpcId": "vpc-1", "ExistingSubnetIds": "subnet-1,subnet-2"})
    breaches = [f"{name} is made" for name in ("Network", "Outbound") if name in root]
    vpc, subnets = {"Ref": "ExistingVpcId"}, {"Ref": "ExistingSubnetIds"}
    for child, expected in {
        "Alb": {"VpcId": vpc, "SubnetIds": subnets},
        "Auth": {"VpcId": vpc},
        "Fargate": {"SubnetIds": subnets},
    }.items():
        passed = root[child]["Properties"]["Parameters"]
        for name, value in expected.items():
            breaches += differences(f"{name} of {child}", passed.get(name), value)
    return breaches + [
        f"{name} asks for the network that isn't made"
        for name, resource in root.items()
        for _, node in walk(resource)
        if (get_att(node) or "").startswith(("Network.", "Outbound."))
    ]


def _ingress_rules(templates: Templates) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, group in all_resources(templates, "AWS::EC2::SecurityGroup"):
        for rule in group.get("SecurityGroupIngress", []):
            yield name, rule
    for _, rule in all_resources(templates, "AWS::EC2::SecurityGroupIngress"):
        target = get_att(rule["GroupId"]) or rule["GroupId"]["Ref"]
        stem = next(
            stem for stem, template in templates.items() if target.split(".")[0] in template["Resources"]
        )
        yield f"{stem}.{target.split('.')[0]}", rule


@promise
def nothing_is_open_to_the_world(templates: Templates) -> list[str]:
    """No security group admits traffic from everywhere."""
    return [
        f"{name} admits {rule[key]}"
        for name, rule in _ingress_rules(templates)
        for key in ("CidrIp", "CidrIpv6")
        if rule.get(key) in ("0.0.0.0/0", "::/0")
    ]


@promise
def security_groups_form_a_chain(templates: Templates) -> list[str]:
    """The task admits only the load balancer, and that only CloudFront and, on one port, the smoke test."""
    rules: dict[str, list[dict[str, Any]]] = {}
    for name, rule in _ingress_rules(templates):
        rules.setdefault(name, []).append({key: value for key, value in rule.items() if key != "Description"})
    task = [
        {
            "GroupId": {"Fn::GetAtt": ["TaskSecurityGroup", "GroupId"]},
            "IpProtocol": "tcp",
            "FromPort": SERVER_PORT,
            "ToPort": SERVER_PORT,
            "SourceSecurityGroupId": {"Fn::GetAtt": ["LoadBalancerSecurityGroup", "GroupId"]},
        }
    ]
    cloudfront = {"SourcePrefixListId": {"Fn::GetAtt": ["OriginFacingPrefixList", "PrefixListId"]}}
    own = {"GroupId": {"Fn::GetAtt": ["LoadBalancerSecurityGroup", "GroupId"]}}
    balancer = [
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, **cloudfront},
        {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, **cloudfront, **own},
        {
            "IpProtocol": "tcp",
            "FromPort": TEST_PORT,
            "ToPort": TEST_PORT,
            "SourceSecurityGroupId": {"Fn::GetAtt": ["SmokeTestSecurityGroup", "GroupId"]},
            **own,
        },
    ]
    condition = templates["alb"]["Resources"].get("HttpsIngressFromCloudFront", {}).get("Condition")
    prefix_list = only(templates["alb"], "Custom::ManagedPrefixList")["PrefixListName"]
    return (
        differences("ingress of the task", rules.get("alb.TaskSecurityGroup"), task)
        + differences("ingress of the load balancer", rules.get("alb.LoadBalancerSecurityGroup"), balancer)
        + differences("condition of port 443", condition, "HasCertificate")
        + differences("the prefix list", prefix_list, "com.amazonaws.global.cloudfront.origin-facing")
    )


@promise
def only_the_smoke_test_reaches_the_test_listener(templates: Templates) -> list[str]:
    """Its port is open to one group, which one function has, and which reaches nothing else."""
    alb = templates["alb"]
    listener = resources(alb, "AWS::ElasticLoadBalancingV2::Listener")["TestListener"]
    breaches = differences("port of the test listener", listener["Port"], TEST_PORT)
    for name, rule in _ingress_rules(templates):
        if name == "alb.LoadBalancerSecurityGroup" and rule["FromPort"] <= TEST_PORT <= rule["ToPort"]:
            source = get_att(rule.get("SourceSecurityGroupId"))
            breaches += differences("source", source, "SmokeTestSecurityGroup.GroupId")
    group = alb["Resources"]["SmokeTestSecurityGroup"]["Properties"]
    reached = [
        (rule["FromPort"], rule["ToPort"], get_att(rule.get("DestinationSecurityGroupId")))
        for rule in group["SecurityGroupEgress"]
    ]
    expected = [(TEST_PORT, TEST_PORT, "LoadBalancerSecurityGroup.GroupId")]
    breaches += differences("what the smoke test reaches", reached, expected)
    users = [
        child
        for child, resource in templates["main"]["Resources"].items()
        for value in resource["Properties"]["Parameters"].values()
        if get_att(value) == "Alb.Outputs.SmokeTestSecurityGroupId"
    ]
    breaches += differences("who has the group", users, ["SmokeTest"])
    holders = [
        name
        for name, function in resources(templates["smoke-test"], "AWS::Lambda::Function").items()
        if function.get("VpcConfig", {}).get("SecurityGroupIds") == [{"Ref": "SecurityGroupId"}]
    ]
    return breaches + differences("functions of the group", holders, ["ProbeFunction"])


@promise
def security_groups_name_their_egress(templates: Templates) -> list[str]:
    """A group without an egress rule of its own would get one that allows everything."""
    breaches = []
    for name, group in all_resources(templates, "AWS::EC2::SecurityGroup"):
        if not group.get("SecurityGroupEgress"):
            breaches.append(f"{name} names no egress")
        for rule in group.get("SecurityGroupEgress", []):
            if rule["IpProtocol"] == "-1" and rule.get("CidrIp") != "127.0.0.1/32":
                breaches.append(f"{name} lets every protocol out")
    return breaches
