"""Lambda functions inside of a VPC and its load balancers: who reaches which listener, whose certificate."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from . import stacks
from .data_plane_support import Edge, unique

Client = Callable[..., Any]

pytestmark = pytest.mark.xdist_group("vpc_functions")

CERTIFIED = "mcp.internal.example"

FUNCTION = """
import ssl, urllib.error, urllib.request

class Named(ssl.SSLContext):
    name = ""
    def wrap_socket(self, *args, **options):
        return super().wrap_socket(*args, **{**options, "server_hostname": self.name})

def handler(event, context):
    trust = ssl.create_default_context()
    if event.get("name"):
        trust = Named(ssl.PROTOCOL_TLS_CLIENT)
        trust.load_default_certs()
        trust.name = event["name"]
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust))
    try:
        with opener.open(event["url"], timeout=10) as answer:
            return {"status": answer.status, "body": answer.read().decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "reason": error.headers.get("x-local-cloud-reason", "")}
    except OSError as error:
        return {"status": 0, "reason": str(error)}
"""


def _rule(port: int, **source: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}


def _listener(port: int, protocol: str, **settings: Any) -> dict[str, Any]:
    answer = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": f"{protocol} {port}"}
    return {
        "Type": "AWS::ElasticLoadBalancingV2::Listener",
        "Properties": {
            "LoadBalancerArn": {"Ref": "Balancer"},
            "Port": port,
            "Protocol": protocol,
            "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": answer}],
            **settings,
        },
    }


def _template(vpc: str, subnets: list[str]) -> dict[str, Any]:
    """An internal load balancer with a test listener that only one of three functions may reach."""
    group = {"Type": "AWS::EC2::SecurityGroup"}
    resources: dict[str, Any] = {
        "SmokeGroup": {**group, "Properties": {"GroupDescription": "admitted", "VpcId": vpc}},
        "OtherGroup": {**group, "Properties": {"GroupDescription": "not admitted", "VpcId": vpc}},
        "MuteGroup": {
            **group,
            "Properties": {
                "GroupDescription": "admitted, but lets nothing out",
                "VpcId": vpc,
                "SecurityGroupEgress": [_rule(443, CidrIp="10.9.9.9/32")],
            },
        },
        "BalancerGroup": {
            **group,
            "Properties": {
                "GroupDescription": "the test listeners, for the smoke test",
                "VpcId": vpc,
                "SecurityGroupIngress": [
                    _rule(port, SourceSecurityGroupId={"Ref": name})
                    for port in (9001, 8443)
                    for name in ("SmokeGroup", "MuteGroup")
                ],
            },
        },
        "Certificate": {
            "Type": "AWS::CertificateManager::Certificate",
            "Properties": {"DomainName": CERTIFIED},
        },
        "Balancer": {
            "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "Properties": {
                "Scheme": "internal",
                "Subnets": subnets,
                "SecurityGroups": [{"Ref": "BalancerGroup"}],
            },
        },
        "Test": _listener(9001, "HTTP"),
        "Production": _listener(80, "HTTP"),
        "Encrypted": _listener(8443, "HTTPS", Certificates=[{"CertificateArn": {"Ref": "Certificate"}}]),
        "Role": stacks.role("lambda.amazonaws.com"),
    }
    for name, groups in {
        "Smoke": "SmokeGroup",
        "Other": "OtherGroup",
        "Mute": "MuteGroup",
        "Outside": "",
    }.items():
        network = {"SubnetIds": subnets, "SecurityGroupIds": [{"Ref": groups}]}
        resources[name] = {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": "python3.13",
                "Handler": "index.handler",
                "Timeout": 30,
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Code": {"ZipFile": FUNCTION},
                **({"VpcConfig": network} if groups else {}),
            },
        }
    outputs: dict[str, Any] = {
        name: {"Value": {"Ref": name}} for name in ("Smoke", "Other", "Mute", "Outside", "SmokeGroup")
    }
    outputs["Host"] = {"Value": {"Fn::GetAtt": ["Balancer", "DNSName"]}}
    return {"Resources": resources, "Outputs": outputs}


@pytest.fixture(scope="module")
def outputs(client: Client, edge: Edge) -> Iterator[dict[str, str]]:
    network = edge.network()
    name = unique("functions")
    stack = stacks.create(client("cloudformation"), name, _template(network.vpc_id, network.subnet_ids))
    assert stack["StackStatus"] == "CREATE_COMPLETE", stacks.failure_reasons(client("cloudformation"), name)
    yield stacks.outputs(stack)
    # Other tests count the certificates that are there.
    stacks.delete(client("cloudformation"), name)


@pytest.fixture(scope="module")
def ask(client: Client, outputs: dict[str, str]) -> Callable[..., dict[str, Any]]:
    def invoke(function: str, url: str, name: str = "") -> dict[str, Any]:
        event = {"url": url.format(host=outputs["Host"]), "name": name}
        answer = client("lambda").invoke(FunctionName=outputs[function], Payload=json.dumps(event))
        return dict(json.loads(answer["Payload"].read()))

    return invoke


def test_the_admitted_function_reaches_the_test_listener(ask: Callable[..., dict[str, Any]]) -> None:
    assert ask("Smoke", "http://{host}:9001/") == {"status": 200, "body": "HTTP 9001"}


def test_a_listener_port_that_its_rules_leave_out_is_shut(ask: Callable[..., dict[str, Any]]) -> None:
    answer = ask("Smoke", "http://{host}/")
    assert answer["status"] == 504
    assert "admits this source on port 80" in answer["reason"]


def test_a_function_with_another_security_group_is_shut_out(ask: Callable[..., dict[str, Any]]) -> None:
    answer = ask("Other", "http://{host}:9001/")
    assert answer["status"] == 504
    assert "admits this source on port 9001" in answer["reason"]


def test_a_function_whose_own_rules_let_nothing_out_gets_nowhere(ask: Callable[..., dict[str, Any]]) -> None:
    answer = ask("Mute", "http://{host}:9001/")
    assert answer["status"] == 504
    assert "no outbound rule of sg-" in answer["reason"]


def test_a_function_outside_of_the_vpc_finds_no_way_in(ask: Callable[..., dict[str, Any]]) -> None:
    answer = ask("Outside", "http://{host}:9001/")
    assert answer["status"] == 502
    assert "internal load balancer" in answer["reason"]


def test_the_listeners_certificate_is_for_its_own_name_alone(ask: Callable[..., dict[str, Any]]) -> None:
    assert ask("Smoke", "https://{host}:8443/", CERTIFIED) == {"status": 200, "body": "HTTPS 8443"}
    by_address = ask("Smoke", "https://{host}:8443/")
    assert by_address["status"] == 0
    assert "CERTIFICATE_VERIFY_FAILED" in by_address["reason"]


def test_a_listener_without_tls_breaks_a_handshake_off(ask: Callable[..., dict[str, Any]]) -> None:
    answer = ask("Smoke", "https://{host}:9001/", CERTIFIED)
    assert answer["status"] == 502
    assert "speaks HTTP" in answer["reason"]


def test_the_function_tells_its_network(client: Client, edge: Edge, outputs: dict[str, str]) -> None:
    network = client("lambda").get_function_configuration(FunctionName=outputs["Smoke"])["VpcConfig"]
    assert network["SecurityGroupIds"] == [outputs["SmokeGroup"]]
    assert network["VpcId"] == edge.network().vpc_id


def test_a_function_needs_subnets_that_exist(client: Client) -> None:
    body = _template("vpc-none", ["subnet-none"])
    only = {"Function": body["Resources"]["Outside"], "Role": body["Resources"]["Role"]}
    only["Function"]["Properties"] |= {
        "VpcConfig": {
            "SubnetIds": ["subnet-none"],
            "SecurityGroupIds": ["sg-none"],
        }
    }
    name = unique("nowhere")
    stack = stacks.create(client("cloudformation"), name, {"Resources": only})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    reason = stacks.failure_reasons(client("cloudformation"), name)["Function"]
    assert "the subnet subnet-none does not exist" in reason
