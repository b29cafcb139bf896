"""Load balancers: reachability, rules, targets, header fields, errors, and bodies that arrive in pieces."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from aiohttp import web

from local_cloud.launcher import LocalCloud
from tests.local_cloud.data_plane_support import Edge, echo, forward, http_server, unique


@pytest.fixture(scope="module")
def second_echo_port() -> Iterator[int]:
    with http_server(echo) as port:
        yield port


def test_request_reaches_the_target_with_the_forwarding_fields(edge: Edge, echo_port: int) -> None:
    url, _ = edge.public_load_balancer(forward(edge.target_group(("127.0.0.1", echo_port))))

    answer = edge.request("POST", f"{url}/a%20b?x=1&x=2", content=b"payload", headers={"x-mine": "yes"})

    seen = answer.json()
    assert answer.status_code == 200
    assert (seen["path"], seen["method"], seen["body"]) == ("/a%20b?x=1&x=2", "POST", "payload")
    assert seen["headers"]["host"] == url.removeprefix("http://")
    assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert (seen["headers"]["x-forwarded-proto"], seen["headers"]["x-forwarded-port"]) == ("http", "80")
    assert seen["headers"]["x-amzn-trace-id"].startswith("Root=1-")
    assert seen["headers"]["x-mine"] == "yes"


def test_internal_load_balancer_is_unreachable_from_outside(edge: Edge, echo_port: int) -> None:
    balancer = edge.forwarding_load_balancer(echo_port)

    answer = edge.request("GET", f"http://{balancer['DNSName']}/")

    assert answer.status_code == 502
    assert "internal load balancer" in answer.headers["x-local-cloud-reason"]


def test_security_group_without_a_public_rule_shuts_the_internet_out(edge: Edge, echo_port: int) -> None:
    balancer = edge.forwarding_load_balancer(echo_port, scheme="internet-facing")

    answer = edge.request("GET", f"http://{balancer['DNSName']}/")

    assert answer.status_code == 504
    assert "no inbound rule" in answer.headers["x-local-cloud-reason"]


def test_port_without_a_listener_does_not_answer(edge: Edge, echo_port: int) -> None:
    url, _ = edge.public_load_balancer(forward(edge.target_group(("127.0.0.1", echo_port))))

    answer = edge.request("GET", url.replace("http://", "https://"))

    assert answer.status_code == 504
    assert "no listener on port 443" in answer.headers["x-local-cloud-reason"]


def test_load_balancers_of_two_regions_serve_side_by_side(
    edge: Edge, local_cloud: LocalCloud, client: Callable[..., Any], echo_port: int
) -> None:
    other = Edge(local_cloud, client, region="eu-west-1")
    urls = [
        place.public_load_balancer(forward(place.target_group(("127.0.0.1", echo_port))))[0]
        for place in (edge, other)
    ]

    assert ".eu-west-1." in urls[1]
    assert [edge.request("GET", url).status_code for url in urls] == [200, 200]


def test_targets_take_turns(edge: Edge, echo_port: int, second_echo_port: int) -> None:
    group = edge.target_group(("127.0.0.1", echo_port), ("127.0.0.2", second_echo_port))
    edge.api("elbv2").deregister_targets(TargetGroupArn=group, Targets=[{"Id": "127.0.0.2"}])
    with http_server(echo, "127.0.0.2") as other_port:
        edge.api("elbv2").register_targets(
            TargetGroupArn=group, Targets=[{"Id": "127.0.0.2", "Port": other_port}]
        )
        url, _ = edge.public_load_balancer(forward(group))
        seen = [edge.request("GET", url).json()["port"] for _ in range(6)]

    assert sorted(seen) == sorted([echo_port, other_port] * 3)


def test_stickiness_binds_a_client_to_its_target(edge: Edge, echo_port: int) -> None:
    with http_server(echo, "127.0.0.2") as other_port:
        group = edge.target_group(
            ("127.0.0.1", echo_port),
            ("127.0.0.2", other_port),
            stickiness__enabled="true",
            stickiness__type="lb_cookie",
        )
        url, _ = edge.public_load_balancer(forward(group))
        with edge.http() as http:
            first = http.get(url)
            rest = {http.get(url).json()["port"] for _ in range(5)}

    assert {name for name, _ in first.cookies.items()} == {"AWSALB", "AWSALBCORS"}
    assert rest == {first.json()["port"]}


def test_weighted_target_groups_share_requests(edge: Edge, echo_port: int, second_echo_port: int) -> None:
    heavy, idle = (edge.target_group(("127.0.0.1", port)) for port in (echo_port, second_echo_port))
    groups = [{"TargetGroupArn": heavy, "Weight": 1}, {"TargetGroupArn": idle, "Weight": 0}]
    url, listener = edge.public_load_balancer({"Type": "forward", "ForwardConfig": {"TargetGroups": groups}})

    described = edge.api("elbv2").describe_listeners(ListenerArns=[listener])["Listeners"][0]
    seen = {edge.request("GET", url).json()["port"] for _ in range(4)}
    edge.api("elbv2").modify_listener(
        ListenerArn=listener,
        DefaultActions=[
            {
                "Type": "forward",
                "ForwardConfig": {
                    "TargetGroups": [
                        {"TargetGroupArn": heavy, "Weight": 0},
                        {"TargetGroupArn": idle, "Weight": 5},
                    ]
                },
            }
        ],
    )
    seen_later = {edge.request("GET", url).json()["port"] for _ in range(4)}

    weights = [group["Weight"] for group in described["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]]
    assert weights == [1, 0]
    assert (seen, seen_later) == ({echo_port}, {second_echo_port})


def test_rules_are_tried_in_order_of_priority(edge: Edge, echo_port: int) -> None:
    url, listener = edge.public_load_balancer(
        {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "403", "ContentType": "text/plain"}}
    )
    elb = edge.api("elbv2")

    def rule(priority: int, action: dict[str, Any], *conditions: dict[str, Any]) -> None:
        elb.create_rule(
            ListenerArn=listener, Priority=priority, Conditions=list(conditions), Actions=[action]
        )

    group = edge.target_group(("127.0.0.1", echo_port))
    header = {"HttpHeaderName": "x-secret", "Values": ["open*"]}
    rule(
        20,
        forward(group),
        {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/mcp*"]}},
        {"Field": "http-header", "HttpHeaderConfig": header},
    )
    rule(
        10,
        {
            "Type": "redirect",
            "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"},
        },
        {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/moved"]}},
    )
    rule(
        30,
        {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "202", "MessageBody": "named"}},
        {"Field": "host-header", "HostHeaderConfig": {"Values": ["other.example"]}},
    )

    assert edge.request("GET", f"{url}/mcp").status_code == 403
    assert edge.request("GET", f"{url}/mcp", headers={"x-secret": "open sesame"}).status_code == 200
    moved = edge.request("GET", f"{url}/moved?a=b")
    assert (moved.status_code, moved.headers["server"]) == (301, "awselb/2.0")
    assert moved.headers["location"] == url.replace("http://", "https://") + ":443/moved?a=b"


def test_no_target_refused_connection_and_silence_have_their_own_statuses(edge: Edge) -> None:
    async def silent(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        unused_port = free.getsockname()[1]
        refused, _ = edge.public_load_balancer(forward(edge.target_group(("127.0.0.1", unused_port))))
        assert edge.request("GET", refused).status_code == 502
    empty, _ = edge.public_load_balancer(forward(edge.target_group()))
    assert edge.request("GET", empty).status_code == 503
    with http_server(silent) as port:
        slow, listener = edge.public_load_balancer(forward(edge.target_group(("127.0.0.1", port))))
        elb = edge.api("elbv2")
        balancer = elb.describe_listeners(ListenerArns=[listener])["Listeners"][0]["LoadBalancerArn"]
        elb.modify_load_balancer_attributes(
            LoadBalancerArn=balancer, Attributes=[{"Key": "idle_timeout.timeout_seconds", "Value": "1"}]
        )
        started = time.monotonic()
        answer = edge.request("GET", slow)
    assert answer.status_code == 504
    assert "<h1>504 Gateway Time-out</h1>" in answer.text
    assert 0.9 < time.monotonic() - started < 5


def test_invalid_header_fields_are_dropped_when_asked(edge: Edge, echo_port: int) -> None:
    url, listener = edge.public_load_balancer(forward(edge.target_group(("127.0.0.1", echo_port))))
    fields = {"x_under": "1", "x-dash": "2"}
    before = edge.request("GET", url, headers=fields).json()["headers"]
    elb = edge.api("elbv2")
    balancer = elb.describe_listeners(ListenerArns=[listener])["Listeners"][0]["LoadBalancerArn"]
    elb.modify_load_balancer_attributes(
        LoadBalancerArn=balancer,
        Attributes=[{"Key": "routing.http.drop_invalid_header_fields.enabled", "Value": "true"}],
    )
    after = edge.request("GET", url, headers=fields).json()["headers"]

    assert ("x_under" in before, "x_under" in after) == (True, False)
    assert after["x-dash"] == "2"


def test_events_arrive_one_by_one(edge: Edge) -> None:
    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(4):
            await response.write(f"data: {number}\n\n".encode())
            await asyncio.sleep(0.3)
        return response

    with http_server(events) as port:
        url, _ = edge.public_load_balancer(forward(edge.target_group(("127.0.0.1", port))))
        arrivals = []
        with edge.http() as http, http.stream("GET", url) as answer:
            for _chunk in answer.iter_raw():
                arrivals.append(time.monotonic())

    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert len(arrivals) == 4
    assert min(gaps) > 0.15


def test_target_learns_that_the_client_has_left(edge: Edge) -> None:
    left = threading.Event()

    async def thoughtful(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one moment\n")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            left.set()
            raise
        return response

    with http_server(thoughtful) as port:
        url, _ = edge.public_load_balancer(forward(edge.target_group(("127.0.0.1", port))))
        with edge.http() as http, http.stream("GET", url) as answer:
            next(answer.iter_raw())
        assert left.wait(5)


def test_body_that_breaks_off_is_not_taken_for_a_whole_one(edge: Edge) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    with http_server(broken) as port:
        url, _ = edge.public_load_balancer(forward(edge.target_group(("127.0.0.1", port))))
        with pytest.raises(httpx2.HTTPError):
            edge.request("GET", url)


def test_weighted_forward_from_a_template(edge: Edge, echo_port: int, second_echo_port: int) -> None:
    network = edge.network()
    groups = [edge.target_group(("127.0.0.1", port)) for port in (echo_port, second_echo_port)]
    forward_config = {
        "TargetGroups": [
            {"TargetGroupArn": groups[0], "Weight": 0},
            {"TargetGroupArn": groups[1], "Weight": 3},
        ]
    }
    template = {
        "Resources": {
            "Balancer": {
                "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
                "Properties": {
                    "Scheme": "internet-facing",
                    "Subnets": network.subnet_ids,
                    "SecurityGroups": [edge.security_group(network, cidr="0.0.0.0/0")],
                },
            },
            "Listener": {
                "Type": "AWS::ElasticLoadBalancingV2::Listener",
                "Properties": {
                    "LoadBalancerArn": {"Ref": "Balancer"},
                    "Port": 80,
                    "Protocol": "HTTP",
                    "DefaultActions": [{"Type": "forward", "ForwardConfig": forward_config}],
                },
            },
        },
        "Outputs": {"Host": {"Value": {"Fn::GetAtt": ["Balancer", "DNSName"]}}},
    }
    cloudformation = edge.api("cloudformation")
    name = unique("weighted")
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    host = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"][0]["OutputValue"]

    assert {edge.request("GET", f"http://{host}").json()["port"] for _ in range(3)} == {second_echo_port}
