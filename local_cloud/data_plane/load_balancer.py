"""Application Load Balancers that carry traffic: listener, rule, target, and the answer piece by piece."""

from __future__ import annotations

import re
from typing import Any

from ministack.services import alb  # type: ignore[import-untyped]

from ..context import Receive, Scope, Send
from . import security_groups, upstream, vpc_clients
from .http_message import (
    Headers,
    Request,
    Response,
    exchange,
    unreachable,
)
from .load_balancer_state import (
    LoadBalancer,
    Record,
    find_by_dns_name,
    registered_targets,
    target_group,
)
from .target_selection import NoTargetError, choose_target
from .vpc_origin import balancer_vpc

_HOST = re.compile(r".+\.elb\.amazonaws\.com")
_VALID_FIELD = re.compile(r"[-A-Za-z0-9]+")
_ERROR_PAGE = (
    "<html>\r\n<head><title>{status} {phrase}</title></head>\r\n<body>\r\n"
    "<center><h1>{status} {phrase}</h1></center>\r\n</body>\r\n</html>\r\n"
)
_PHRASES = {
    400: "Bad Request",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}


def is_load_balancer_host(host: str) -> bool:
    """Whether ``host`` is shaped like a load balancer's DNS name."""
    return _HOST.fullmatch(host) is not None


def certificate_names(host: str) -> set[str]:
    """What the certificates of the load balancer named ``host`` are for; empty without an HTTPS listener."""
    balancer = find_by_dns_name(host)
    if balancer is None:
        return set()
    listeners = [balancer.listener(port) for port in balancer.listener_ports()]
    return {name for listener in listeners if listener for name in balancer.certificate_names(listener)}


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """The load balancer as a client meets it who knows its DNS name."""
    await exchange(scope, receive, send, respond_by_name)


async def respond_by_name(request: Request) -> Response:
    """Answer a request from the internet, or from a function inside of a VPC."""
    host, _, port_text = request.header("host").lower().partition(":")
    balancer = find_by_dns_name(host)
    if balancer is None:
        return unreachable(f"the name {host} does not resolve: no load balancer has it")
    tls = request.scheme == "https"
    port = int(port_text) if port_text.isdigit() else (443 if tls else 80)
    client = vpc_clients.client_at(request.client)
    source = client.peer if client else security_groups.internet()
    if balancer.internal and (
        client is None or client.vpc_id != balancer_vpc(balancer.account, balancer.region, balancer.record)
    ):
        return unreachable(
            f"{host} is an internal load balancer; its name resolves to private addresses of its VPC"
        )
    if client and not security_groups.lets_out(
        client.groups,
        port,
        security_groups.load_balancer_peer(balancer),
        account=client.account,
        region=client.region,
    ):
        groups = ", ".join(client.groups)
        return unreachable(f"no outbound rule of {groups} lets port {port} of {host} be reached", 504)
    return await connect(balancer, port, request, source, tls=tls)


async def connect(
    balancer: LoadBalancer, port: int, request: Request, source: security_groups.Peer, *, tls: bool
) -> Response:
    """Answer a request that ``source`` sends to ``port``, or say by ``unreachable`` why nothing connects.

    The status of an ``unreachable`` tells a refused handshake (502) from a connection that times out (504).
    """
    listener = balancer.listener(port)
    if listener is None:
        ports = ", ".join(map(str, balancer.listener_ports())) or "none"
        return unreachable(f"{balancer.dns_name} has no listener on port {port} (it has: {ports})", 504)
    if not security_groups.admits(
        balancer.security_groups, port, source, account=balancer.account, region=balancer.region
    ):
        groups = ", ".join(balancer.security_groups)
        return unreachable(f"no inbound rule of {groups} admits this source on port {port}", 504)
    encrypted = listener.get("Protocol") == "HTTPS"
    if tls and not encrypted:
        return unreachable(f"port {port} of {balancer.dns_name} speaks HTTP, the client speaks TLS", 502)
    if encrypted and not tls:
        return _error(400, listener["ListenerArn"], balancer)
    return await respond(balancer, listener, request)


async def respond(balancer: LoadBalancer, listener: Record, request: Request) -> Response:
    """Answer a request that has arrived at ``listener``."""
    with balancer.scope():
        return await _apply_rules(balancer, listener, _screened(balancer, request))


def _screened(balancer: LoadBalancer, request: Request) -> Request:
    if balancer.attribute("routing.http.drop_invalid_header_fields.enabled", "false") != "true":
        return request
    return request.with_headers(
        (name, value) for name, value in request.headers if _VALID_FIELD.fullmatch(name)
    )


async def _apply_rules(balancer: LoadBalancer, listener: Record, request: Request) -> Response:
    listener_arn = listener["ListenerArn"]
    header_map, query = request.header_map(), request.query_map()
    for rule in balancer.rules(listener_arn):
        conditions = rule.get("Conditions") or []
        if not rule.get("IsDefault") and not all(
            alb._match_condition(item, request.method, request.path, header_map, query) for item in conditions
        ):
            continue
        # The default rule of a listener is the listener's own default actions, also after an update.
        actions = listener.get("DefaultActions") if rule.get("IsDefault") else rule.get("Actions")
        response = await _act(balancer, listener, sorted(actions or [], key=_order), request)
        return _with_listener_headers(listener_arn, response)
    return _error(502, listener_arn, balancer)


def _order(action: Record) -> int:
    return int(action.get("Order") or 50_000)


async def _act(balancer: LoadBalancer, listener: Record, actions: list[Record], request: Request) -> Response:
    port = int(listener.get("Port", 80))
    for action in actions:
        kind = str(action.get("Type", "")).lower()
        if kind == "forward":
            return await _forward(balancer, listener, actions, request)
        if kind in {"redirect", "fixed-response"}:
            headers = {
                **request.header_map(),
                "x-forwarded-proto": str(listener.get("Protocol", "HTTP")).lower(),
                "x-forwarded-port": str(port),
            }
            answer = await alb._execute_action(
                action,
                request.method,
                request.path,
                headers,
                request.body,
                request.query_map(),
                request.query,
            )
            return _from_emulator(alb._with_alb_server(answer, listener["ListenerArn"]))
        # An authentication action that was skipped would let strangers through, so refuse.
        return unreachable(f"the listener action {kind!r} is not available in the local cloud", 501)
    return _error(502, listener["ListenerArn"], balancer)


async def _forward(
    balancer: LoadBalancer, listener: Record, actions: list[Record], request: Request
) -> Response:
    listener_arn = listener["ListenerArn"]
    outbound = request.with_headers(_target_headers(balancer, listener, request))
    lambda_group = _lambda_group(actions)
    if lambda_group is not None:
        return await _invoke(lambda_group, listener_arn, outbound)
    try:
        target = choose_target(actions, request)
    except NoTargetError:
        return _error(503, listener_arn, balancer)
    if not security_groups.load_balancer_reaches(balancer, target.address, target.port):
        return _error(504, listener_arn, balancer)
    idle_timeout = float(balancer.attribute("idle_timeout.timeout_seconds", "60"))
    try:
        response = await upstream.fetch(outbound, target.address, target.port, idle_timeout=idle_timeout)
    except upstream.TargetTimeoutError:
        return _error(504, listener_arn, balancer)
    except upstream.TargetConnectionError:
        return _error(502, listener_arn, balancer)
    response.headers.extend(("set-cookie", cookie) for cookie in target.cookies)
    return response


def _target_headers(balancer: LoadBalancer, listener: Record, request: Request) -> Headers:
    """What a target receives: the client's fields, X-Forwarded-*, X-Amzn-Trace-Id and the balancer's Host."""
    computed: dict[str, str] = alb._target_headers(
        balancer.arn, listener, request.header_map(), request.client
    )
    host = computed.get("host")
    if host and balancer.attribute("routing.http.preserve_host_header.enabled", "false") != "true":
        computed["host"] = alb._target_host_header(host, listener.get("Port", 80))
    return list(computed.items())


def _lambda_group(actions: list[Record]) -> str | None:
    arn = next((str(action["TargetGroupArn"]) for action in actions if action.get("TargetGroupArn")), None)
    group = target_group(arn) if arn else None
    return arn if group and group.get("TargetType") == "lambda" else None


async def _invoke(target_group_arn: str, listener_arn: str, request: Request) -> Response:
    targets = registered_targets(target_group_arn)
    if not targets:
        return Response.of(503, [("server", "awselb/2.0")])
    answer = await alb._invoke_lambda_target(
        targets[0][0],
        target_group_arn,
        request.method,
        request.path,
        request.header_map(),
        request.body,
        request.query_map(),
        request.query,
    )
    return _from_emulator(alb._with_alb_server(answer, listener_arn))


def _from_emulator(answer: tuple[int, dict[str, Any], bytes]) -> Response:
    status, headers, body = answer
    pairs = [
        (name, str(value))
        for name, values in headers.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return Response.of(status, pairs, body or b"")


def _with_listener_headers(listener_arn: str, response: Response) -> Response:
    """Add the response fields that the listener's attributes ask for."""
    _status, added, _body = alb._with_listener_response_headers(listener_arn, (response.status, {}, b""))
    if added:
        names = {name.lower() for name in added}
        kept = [(name, value) for name, value in response.headers if name not in names]
        response.headers[:] = [*kept, *((name.lower(), value) for name, value in added.items())]
    return response


def _error(status: int, listener_arn: str, balancer: LoadBalancer) -> Response:
    body = _ERROR_PAGE.format(status=status, phrase=_PHRASES[status]).encode()
    with balancer.scope():
        answer = alb._with_alb_server((status, {"content-type": "text/html"}, body), listener_arn)
    return _from_emulator(answer)
