"""Networks, load balancers, distributions and servers behind them, for tests."""

from __future__ import annotations

import asyncio
import ssl
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from aiohttp import web

from local_cloud.launcher import LocalCloud

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ALL_VIEWER = "216adef6-5c7f-47e4-b989-5492eafa07d3"
ALL_VIEWER_EXCEPT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
CORS_WITH_PREFLIGHT = "5cc3b908-e619-4b99-88e5-2cf7f45965bd"
ALL_METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"]


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


async def echo(request: web.Request) -> web.StreamResponse:
    """Answer with what arrived, and the port it arrived at."""
    return web.json_response(
        {
            "path": request.raw_path,
            "method": request.method,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": (await request.read()).decode(),
            "port": request.transport.get_extra_info("sockname")[1] if request.transport else 0,
        }
    )


@contextmanager
def http_server(handler: Handler, address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Serve every path by ``handler`` on a thread of its own; give its port."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    ports: list[int] = []
    runners: list[web.AppRunner] = []

    async def start() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, address, port)
        await site.start()
        runners.append(runner)
        server = site._server
        assert isinstance(server, asyncio.Server)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runners[0].cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@dataclass
class Network:
    """A VPC with an internet gateway, two subnets and a security group that admits its own addresses."""

    vpc_id: str
    subnet_ids: list[str]
    group_id: str


@dataclass
class Edge:
    """Makes resources in one region of the cloud, and requests to them as a client outside of it."""

    cloud: LocalCloud
    client: Callable[..., Any]
    region: str = "us-east-1"
    _network: Network | None = field(default=None)

    def api(self, service: str) -> Any:
        """A boto3 client."""
        return self.client(service, self.region)

    def trust(self) -> ssl.SSLContext:
        """TLS settings that accept the cloud's certificates."""
        return ssl.create_default_context(cafile=self.cloud.environment()["SSL_CERT_FILE"])

    def http(self, timeout: float = 20.0) -> httpx2.Client:
        """A client that goes through the cloud's proxy."""
        proxy = self.cloud.environment()["HTTPS_PROXY"]
        return httpx2.Client(proxy=proxy, verify=self.trust(), timeout=timeout, trust_env=False)

    def request(self, method: str, url: str, **options: Any) -> httpx2.Response:
        """One request, redirects not followed."""
        with self.http() as http:
            return http.request(method, url, **options)

    def network(self) -> Network:
        """The network of this region."""
        if self._network is None:
            self._network = self.make_network()
        return self._network

    def make_network(self, *, internet_gateway: bool = True) -> Network:
        """A new network."""
        ec2 = self.api("ec2")
        vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        if internet_gateway:
            gateway_id = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
            ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id)
        subnets = [
            ec2.create_subnet(VpcId=vpc_id, CidrBlock=block)["Subnet"]["SubnetId"]
            for block in ("10.0.0.0/24", "10.0.1.0/24")
        ]
        network = Network(vpc_id, subnets, "")
        network.group_id = self.security_group(network, cidr="10.0.0.0/16")
        return network

    def security_group(
        self, network: Network, *, cidr: str | None = None, port: int = 80, **source: Any
    ) -> str:
        """A security group that admits ``cidr`` (or another source) on ``port``."""
        ec2 = self.api("ec2")
        group_id: str = ec2.create_security_group(
            GroupName=unique("group"), Description="test", VpcId=network.vpc_id
        )["GroupId"]
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}
        if cidr:
            rule["IpRanges"] = [{"CidrIp": cidr}]
        if cidr or source:
            ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[rule])
        return group_id

    def target_group(self, *targets: tuple[str, int], port: int = 8080, **attributes: str) -> str:
        """A target group with these addresses and ports."""
        elb = self.api("elbv2")
        arn: str = elb.create_target_group(
            Name=unique("tg"), Protocol="HTTP", Port=port, VpcId=self.network().vpc_id, TargetType="ip"
        )["TargetGroups"][0]["TargetGroupArn"]
        if attributes:
            elb.modify_target_group_attributes(
                TargetGroupArn=arn,
                Attributes=[
                    {"Key": key.replace("__", "."), "Value": value} for key, value in attributes.items()
                ],
            )
        if targets:
            elb.register_targets(
                TargetGroupArn=arn, Targets=[{"Id": address, "Port": number} for address, number in targets]
            )
        return arn

    def load_balancer(
        self, *, scheme: str = "internal", group_id: str | None = None, network: Network | None = None
    ) -> dict[str, Any]:
        """A load balancer without listeners."""
        network = network or self.network()
        balancer: dict[str, Any] = self.api("elbv2").create_load_balancer(
            Name=unique("alb"),
            Scheme=scheme,
            Subnets=network.subnet_ids,
            SecurityGroups=[group_id or network.group_id],
        )["LoadBalancers"][0]
        return balancer

    def public_load_balancer(self, *actions: dict[str, Any]) -> tuple[str, str]:
        """Address and listener ARN of an internet-facing load balancer that listens on port 80."""
        group_id = self.security_group(self.network(), cidr="0.0.0.0/0")
        balancer = self.load_balancer(scheme="internet-facing", group_id=group_id)
        listener = self.listener(balancer, *actions)
        return f"http://{balancer['DNSName']}", listener

    def listener(self, balancer: dict[str, Any], *actions: dict[str, Any], port: int = 80) -> str:
        """An HTTP listener's ARN."""
        arn: str = self.api("elbv2").create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=port,
            DefaultActions=list(actions),
        )["Listeners"][0]["ListenerArn"]
        return arn

    def forwarding_load_balancer(self, port: int, **options: Any) -> dict[str, Any]:
        """An internal load balancer whose port 80 leads to ``127.0.0.1:port``."""
        balancer = self.load_balancer(**options)
        self.listener(balancer, forward(self.target_group(("127.0.0.1", port))))
        return balancer

    def vpc_origin(self, balancer: dict[str, Any], policy: str = "http-only") -> str:
        """A VPC origin's id."""
        vpc_origin_id: str = self.api("cloudfront").create_vpc_origin(
            VpcOriginEndpointConfig={
                "Name": unique("origin"),
                "Arn": balancer["LoadBalancerArn"],
                "HTTPPort": 80,
                "HTTPSPort": 443,
                "OriginProtocolPolicy": policy,
            }
        )["VpcOrigin"]["Id"]
        return vpc_origin_id

    def distribution(
        self,
        balancer: dict[str, Any],
        *,
        policy: str = "http-only",
        read_timeout: int = 30,
        enabled: bool = True,
        behavior: dict[str, Any] | None = None,
        origin: dict[str, Any] | None = None,
    ) -> str:
        """The address of a distribution with this load balancer as its VPC origin."""
        origin = origin or {
            "VpcOriginConfig": {
                "VpcOriginId": self.vpc_origin(balancer, policy),
                "OriginReadTimeout": read_timeout,
                "OriginKeepaliveTimeout": 5,
            }
        }
        created = self.api("cloudfront").create_distribution(
            DistributionConfig={
                "CallerReference": unique("reference"),
                "Comment": "test",
                "Enabled": enabled,
                "Origins": {
                    "Quantity": 1,
                    "Items": [{"Id": "balancer", "DomainName": balancer["DNSName"], **origin}],
                },
                "DefaultCacheBehavior": {
                    "TargetOriginId": "balancer",
                    "ViewerProtocolPolicy": "redirect-to-https",
                    "AllowedMethods": {"Quantity": 7, "Items": ALL_METHODS},
                    "CachePolicyId": CACHING_DISABLED,
                    "OriginRequestPolicyId": ALL_VIEWER_EXCEPT_HOST,
                    **(behavior or {}),
                },
            }
        )
        return f"https://{created['Distribution']['DomainName']}"


def forward(target_group_arn: str) -> dict[str, Any]:
    """A forward action."""
    return {"Type": "forward", "TargetGroupArn": target_group_arn}
