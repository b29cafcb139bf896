"""Distributions: the way through a VPC origin, policies, timeouts, and what shuts viewers out."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from aiohttp import web
from botocore.exceptions import ClientError

from tests.local_cloud.data_plane_support import (
    ALL_VIEWER,
    CORS_WITH_PREFLIGHT,
    Edge,
    forward,
    http_server,
    unique,
)


class StackFailedError(Exception):
    """A stack was not created; the text has the events' reasons."""


@pytest.fixture(scope="module")
def balancer(edge: Edge, echo_port: int) -> dict[str, Any]:
    return edge.forwarding_load_balancer(echo_port)


def test_viewer_reaches_an_internal_load_balancer_through_a_vpc_origin(
    edge: Edge, balancer: dict[str, Any]
) -> None:
    url = edge.distribution(balancer)

    answer = edge.request("POST", f"{url}/mcp?x=1", content=b"{}", headers={"authorization": "Bearer t"})

    seen = answer.json()
    assert answer.status_code == 200
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/mcp?x=1", "{}")
    assert seen["headers"]["host"] == balancer["DNSName"]
    assert seen["headers"]["authorization"] == "Bearer t"
    assert seen["headers"]["x-forwarded-for"] == "127.0.0.1, 127.0.0.1"
    assert seen["headers"]["via"].endswith(".cloudfront.net (CloudFront)")
    assert answer.headers["x-cache"] == "Miss from cloudfront"
    assert answer.headers["via"].endswith(".cloudfront.net (CloudFront)")
    assert answer.headers["x-amz-cf-id"]


def test_all_viewer_policy_forwards_the_viewers_host(edge: Edge, balancer: dict[str, Any]) -> None:
    url = edge.distribution(balancer, behavior={"OriginRequestPolicyId": ALL_VIEWER})

    seen = edge.request("GET", url).json()

    assert seen["headers"]["host"] == url.removeprefix("https://")


def test_without_an_origin_request_policy_only_the_basics_are_forwarded(
    edge: Edge, balancer: dict[str, Any]
) -> None:
    url = edge.distribution(balancer, behavior={"OriginRequestPolicyId": ""})

    seen = edge.request(
        "GET", f"{url}/?secret=1", headers={"authorization": "Bearer t", "x-mine": "1"}
    ).json()

    assert seen["path"] == "/"
    assert seen["headers"]["user-agent"] == "Amazon CloudFront"
    assert not {"authorization", "x-mine"} & set(seen["headers"])


def test_plain_http_is_redirected(edge: Edge, balancer: dict[str, Any]) -> None:
    url = edge.distribution(balancer)
    plain = url.replace("https://", "http://") + "/mcp?a=1"

    moved, posted = edge.request("GET", plain), edge.request("POST", plain)

    assert (moved.status_code, moved.headers["location"]) == (301, f"{url}/mcp?a=1")
    assert posted.status_code == 307


def test_method_outside_the_behavior_is_refused(edge: Edge, balancer: dict[str, Any]) -> None:
    read_only = {"AllowedMethods": {"Quantity": 2, "Items": ["GET", "HEAD"]}}
    url = edge.distribution(balancer, behavior=read_only)

    assert edge.request("GET", url).status_code == 200
    refused = edge.request("POST", url)
    assert (refused.status_code, refused.headers["x-cache"]) == (403, "Error from cloudfront")


def test_cors_policy_answers_the_browser(edge: Edge, balancer: dict[str, Any]) -> None:
    url = edge.distribution(balancer, behavior={"ResponseHeadersPolicyId": CORS_WITH_PREFLIGHT})

    plain = edge.request("GET", url)
    preflight = edge.request(
        "OPTIONS", url, headers={"origin": "https://app.example", "access-control-request-method": "POST"}
    )

    assert "access-control-allow-origin" not in plain.headers
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-expose-headers"] == "*"


def test_https_only_origin_without_an_https_listener_times_out(edge: Edge, balancer: dict[str, Any]) -> None:
    answer = edge.request("GET", edge.distribution(balancer, policy="https-only"))

    assert answer.status_code == 504
    assert "no listener on port 443" in answer.headers["x-local-cloud-reason"]
    assert answer.headers["x-cache"] == "Error from cloudfront"


def test_match_viewer_origin_fails_for_https_viewers(edge: Edge, balancer: dict[str, Any]) -> None:
    assert edge.request("GET", edge.distribution(balancer, policy="match-viewer")).status_code == 504


def test_internal_load_balancer_as_a_custom_origin_is_out_of_reach(
    edge: Edge, balancer: dict[str, Any]
) -> None:
    custom = {"CustomOriginConfig": {"HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"}}

    answer = edge.request("GET", edge.distribution(balancer, origin=custom))

    assert answer.status_code == 504
    assert "needs a VPC origin" in answer.headers["x-local-cloud-reason"]


@pytest.mark.parametrize(
    ("cidr", "status"), [("10.0.0.0/16", 200), ("10.0.1.0/24", 200), ("192.168.0.0/16", 504), (None, 504)]
)
def test_load_balancers_group_has_to_admit_cloudfront(
    edge: Edge, echo_port: int, cidr: str | None, status: int
) -> None:
    group_id = edge.security_group(edge.network(), cidr=cidr)
    url = edge.distribution(edge.forwarding_load_balancer(echo_port, group_id=group_id))

    assert edge.request("GET", url).status_code == status


def test_origin_facing_prefix_list_admits_cloudfront(edge: Edge, echo_port: int) -> None:
    name = "com.amazonaws.global.cloudfront.origin-facing"
    lists = edge.api("ec2").describe_managed_prefix_lists(
        Filters=[{"Name": "prefix-list-name", "Values": [name]}]
    )["PrefixLists"]
    template = {
        "Resources": {
            "Group": {
                "Type": "AWS::EC2::SecurityGroup",
                "Properties": {
                    "GroupDescription": "origin facing",
                    "VpcId": edge.network().vpc_id,
                    "SecurityGroupIngress": [
                        {
                            "IpProtocol": "tcp",
                            "FromPort": 80,
                            "ToPort": 80,
                            "SourcePrefixListId": lists[0]["PrefixListId"],
                        }
                    ],
                },
            }
        },
        "Outputs": {"Id": {"Value": {"Fn::GetAtt": ["Group", "GroupId"]}}},
    }
    group_id = _deploy(edge, template)["Id"]

    assert (
        edge.request(
            "GET", edge.distribution(edge.forwarding_load_balancer(echo_port, group_id=group_id))
        ).status_code
        == 200
    )


def test_unknown_and_disabled_distributions(edge: Edge, balancer: dict[str, Any]) -> None:
    unknown = edge.request("GET", "https://d0000000000000.cloudfront.net/")
    assert (unknown.status_code, "x-cache" in unknown.headers) == (502, False)
    assert "does not resolve" in unknown.headers["x-local-cloud-reason"]
    assert edge.request("GET", edge.distribution(balancer, enabled=False)).status_code == 403


def test_silence_before_the_answer_is_a_504(edge: Edge) -> None:
    async def slow(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(20)
        return web.Response()

    with http_server(slow) as port:
        url = edge.distribution(edge.forwarding_load_balancer(port), read_timeout=1)
        started = time.monotonic()
        answer = edge.request("POST", url)

    assert answer.status_code == 504
    assert 0.9 < time.monotonic() - started < 5


def test_events_arrive_one_by_one_and_a_long_gap_breaks_them_off(edge: Edge) -> None:
    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for pause in (0.4, 0.4, 0.4, 5):
            await response.write(b"data: tick\n\n")
            await asyncio.sleep(pause)
        return response

    arrivals: list[float] = []
    with http_server(events) as port:
        url = edge.distribution(edge.forwarding_load_balancer(port), read_timeout=1)
        with (
            pytest.raises(httpx2.HTTPError),
            edge.http() as http,
            http.stream("GET", url, headers={"accept-encoding": "gzip"}) as answer,
        ):
            for _chunk in answer.iter_raw():
                arrivals.append(time.monotonic())
        broke_off = time.monotonic()

    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert len(arrivals) == 4
    assert min(gaps) > 0.25
    assert broke_off - arrivals[-1] < 3


def test_errors_of_the_server_pass_through(edge: Edge) -> None:
    async def failing(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "no"}, status=418)

    with http_server(failing) as port:
        answer = edge.request("GET", edge.distribution(edge.forwarding_load_balancer(port)))

    assert (answer.status_code, answer.json()) == (418, {"detail": "no"})
    assert answer.headers["x-cache"] == "Error from cloudfront"


def test_vpc_origin_needs_an_internet_gateway(edge: Edge) -> None:
    balancer = edge.load_balancer(network=edge.make_network(internet_gateway=False))

    with pytest.raises(ClientError, match="has no internet gateway"):
        edge.vpc_origin(balancer)


def test_vpc_origin_and_distribution_from_a_template(edge: Edge, balancer: dict[str, Any]) -> None:
    template = _origin_template(balancer)
    outputs = _deploy(edge, template)
    described = edge.api("cloudfront").get_vpc_origin(Id=outputs["OriginId"])["VpcOrigin"]

    assert described["Arn"] == outputs["OriginArn"]
    assert described["VpcOriginEndpointConfig"]["OriginProtocolPolicy"] == "http-only"
    assert edge.request("GET", f"https://{outputs['Domain']}/x").json()["path"] == "/x"

    cloudformation = edge.api("cloudformation")
    cloudformation.delete_stack(StackName=outputs["StackName"])
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=outputs["StackName"], WaiterConfig={"Delay": 1}
    )
    with pytest.raises(ClientError, match="does not exist"):
        edge.api("cloudfront").get_vpc_origin(Id=outputs["OriginId"])


def test_template_with_a_wrong_vpc_origin_fails(edge: Edge, balancer: dict[str, Any]) -> None:
    template = _origin_template(balancer)
    origin = template["Resources"]["Distribution"]["Properties"]["DistributionConfig"]["Origins"][0]
    origin["VpcOriginConfig"]["VpcOriginId"] = "vo_0000000000000000000000"
    with pytest.raises(StackFailedError, match="vpc origin does not exist"):
        _deploy(edge, template)

    missing = {**balancer, "LoadBalancerArn": balancer["LoadBalancerArn"][:-4] + "ffff"}
    with pytest.raises(StackFailedError, match="LoadBalancerNotFound"):
        _deploy(edge, _origin_template(missing))


def test_origin_on_another_port(edge: Edge, echo_port: int) -> None:
    network = edge.network()
    balancer = edge.load_balancer(group_id=edge.security_group(network, cidr="10.0.0.0/16", port=8000))
    edge.listener(balancer, forward(edge.target_group(("127.0.0.1", echo_port))), port=8000)
    vpc_origin_id = edge.api("cloudfront").create_vpc_origin(
        VpcOriginEndpointConfig={
            "Name": unique("origin"),
            "Arn": balancer["LoadBalancerArn"],
            "HTTPPort": 8000,
            "HTTPSPort": 443,
            "OriginProtocolPolicy": "http-only",
        }
    )["VpcOrigin"]["Id"]
    url = edge.distribution(balancer, origin={"VpcOriginConfig": {"VpcOriginId": vpc_origin_id}})

    answer = edge.request("GET", url)

    assert answer.status_code == 200
    assert answer.json()["headers"]["x-forwarded-port"] == "8000"


def _origin_template(balancer: dict[str, Any]) -> dict[str, Any]:
    return {
        "Resources": {
            "Origin": {
                "Type": "AWS::CloudFront::VpcOrigin",
                "Properties": {
                    "VpcOriginEndpointConfig": {
                        "Name": unique("origin"),
                        "Arn": balancer["LoadBalancerArn"],
                        "OriginProtocolPolicy": "http-only",
                    }
                },
            },
            "Distribution": {
                "Type": "AWS::CloudFront::Distribution",
                "Properties": {
                    "DistributionConfig": {
                        "Enabled": True,
                        "Origins": [
                            {
                                "Id": "balancer",
                                "DomainName": balancer["DNSName"],
                                "VpcOriginConfig": {
                                    "VpcOriginId": {"Ref": "Origin"},
                                    "OriginReadTimeout": 60,
                                },
                            }
                        ],
                        "DefaultCacheBehavior": {
                            "TargetOriginId": "balancer",
                            "ViewerProtocolPolicy": "redirect-to-https",
                            "AllowedMethods": ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"],
                            "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
                        },
                    }
                },
            },
        },
        "Outputs": {
            "OriginId": {"Value": {"Ref": "Origin"}},
            "OriginArn": {"Value": {"Fn::GetAtt": ["Origin", "Arn"]}},
            "Domain": {"Value": {"Fn::GetAtt": ["Distribution", "DomainName"]}},
        },
    }


def _deploy(edge: Edge, template: dict[str, Any]) -> dict[str, str]:
    cloudformation = edge.api("cloudformation")
    name = unique("edge")
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    deadline = time.monotonic() + 20
    while True:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            break
        assert time.monotonic() < deadline, stack["StackStatus"]
        time.sleep(0.05)
    reasons = [
        event.get("ResourceStatusReason", "")
        for event in cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    ]
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise StackFailedError("; ".join(reasons))
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}
    return {**outputs, "StackName": name}
