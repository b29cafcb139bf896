"""CloudFront distributions that carry traffic: behavior, origin, policies, and the answer piece by piece.

The emulator's own data plane reads a whole answer before it passes it on, and knows no VPC origins; its
tables of policies and its rules for combining them are used here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from ministack.core.responses import request_scope  # type: ignore[import-untyped]
from ministack.services import cloudfront  # type: ignore[import-untyped]

from ..context import Receive, Scope, Send
from . import load_balancer, security_groups
from .http_message import (
    HOP_BY_HOP,
    REASON_HEADER,
    Headers,
    Request,
    Response,
    ResponseAbortedError,
    exchange,
    unreachable,
)
from .load_balancer_state import LoadBalancer, find_by_arn, find_by_dns_name

_HOST = re.compile(r"[a-z0-9]+\.cloudfront\.net")
_DEFAULT_METHODS = ("GET", "HEAD")
_NOT_FORWARDED = HOP_BY_HOP | {"via", "x-amz-cf-id", "content-length", "expect"}
_ERROR = "Error from cloudfront"


@dataclass(frozen=True)
class Origin:
    """An origin as far as its traffic goes; times in seconds."""

    domain_name: str
    path: str
    custom_headers: tuple[tuple[str, str], ...]
    vpc_origin_id: str
    protocol_policy: str
    http_port: int
    https_port: int
    read_timeout: float
    completion_timeout: float | None
    s3: bool


class OriginError(Exception):
    """CloudFront answers ``status`` itself because its origin gave no usable answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def is_distribution_host(host: str) -> bool:
    """Whether ``host`` is shaped like a distribution's domain name."""
    return _HOST.fullmatch(host) is not None


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """A distribution as its viewers meet it."""
    await exchange(scope, receive, send, respond)


async def respond(request: Request) -> Response:
    """Answer a viewer's request to ``<id>.cloudfront.net``."""
    host = request.header("host").lower().partition(":")[0]
    found = _find(host)
    if found is None:
        return unreachable(f"the name {host} does not resolve: no distribution has it")
    account, record = found
    with request_scope(account, "us-east-1"):
        return await _respond(record, request)


def _find(host: str) -> tuple[str, dict[str, Any]] | None:
    for (account, _distribution_id), record in list(cloudfront._distributions.to_dict().items()):
        if str(record.get("DomainName", "")).lower() == host:
            return account, record
    return with_alias(host)


def with_alias(name: str) -> tuple[str, dict[str, Any]] | None:
    """Return account and record of the distribution that has this name of its own, None where none has."""
    for (account, _distribution_id), record in list(cloudfront._distributions.to_dict().items()):
        if name.lower() in {alias.lower() for alias in cloudfront._get_distribution_aliases(record)}:
            return account, record
    return None


async def _respond(distribution: dict[str, Any], request: Request) -> Response:
    if not distribution.get("enabled", True):
        return _refusal(403, "The distribution is disabled.")
    stacked = cloudfront._check_stacked_distribution(request.header_map())
    if stacked is not None:
        return _from_emulator(stacked)
    config = cloudfront.parse_distribution_dataplane_config(distribution)
    behavior = cloudfront._match_behavior(config, request.path)
    if behavior is None:
        return _refusal(502, "The request could not be satisfied.", "the distribution has no cache behavior")
    refusal = _viewer_refusal(behavior, request)
    if refusal is not None:
        return refusal
    if behavior["functions"]:
        return _refusal(503, "The function failed.", "CloudFront functions do not run in the local cloud")
    target = cloudfront._apply_default_root_object(config["default_root_object"], request.target)
    try:
        origin = _origin(distribution, behavior["target_origin_id"])
        outbound = _origin_request(behavior, origin, request, target)
        response = await _within_timeouts(origin, _fetch(origin, outbound, request))
    except OriginError as error:
        return _refusal(error.status, "The request could not be satisfied.", str(error))
    return _viewer_response(behavior, request, response)


def _viewer_refusal(behavior: dict[str, Any], request: Request) -> Response | None:
    protocol = cloudfront._check_viewer_protocol_policy(
        behavior,
        request.method,
        request.scheme == "https",
        request.target,
        request.query,
        request.header_map(),
    )
    if protocol is not None:
        return _from_emulator(protocol)
    allowed = {**behavior, "allowed_methods": behavior["allowed_methods"] or list(_DEFAULT_METHODS)}
    method = cloudfront._check_allowed_methods(allowed, request.method)
    if method is not None:
        return _from_emulator(method)
    if request.method == "GET" and request.body:
        return _refusal(403, "Bad request: a GET request has a body.")
    return None


def _origin(distribution: dict[str, Any], origin_id: str) -> Origin:
    config = cloudfront._dist_config_el(distribution)
    origins = cloudfront._find(config, "Origins")
    items = cloudfront._find(origins, "Items") if origins is not None else None
    for element in items if items is not None else ():
        if cloudfront._text(element, "Id") == origin_id:
            return _parse_origin(element)
    raise OriginError(502, f"the distribution has no origin {origin_id!r}")


def _parse_origin(element: Any) -> Origin:
    base = cloudfront._dataplane_origin(element)
    vpc = cloudfront._find(element, "VpcOriginConfig")
    read_timeout, vpc_origin_id = base["read_timeout"], ""
    ports = (base["http_port"], base["https_port"])
    policy = base["protocol_policy"]
    if vpc is not None:
        vpc_origin_id = cloudfront._text(vpc, "VpcOriginId")
        read_timeout = cloudfront._text(vpc, "OriginReadTimeout") or "30"
        policy, ports = _vpc_origin_endpoint(vpc_origin_id)
    completion = cloudfront._text(element, "ResponseCompletionTimeout")
    return Origin(
        domain_name=base["domain_name"],
        path=base["origin_path"],
        custom_headers=tuple(base["custom_headers"]),
        vpc_origin_id=vpc_origin_id,
        protocol_policy=policy,
        http_port=ports[0],
        https_port=ports[1],
        read_timeout=float(read_timeout),
        completion_timeout=float(completion) if completion else None,
        s3=bool(base["s3_bucket"]),
    )


def _vpc_origin_endpoint(vpc_origin_id: str) -> tuple[str, tuple[int, int]]:
    record = cloudfront._vpc_origins.get(vpc_origin_id)
    if record is None:
        raise OriginError(502, f"there is no VPC origin {vpc_origin_id!r}")
    if record["Status"] != "Deployed":
        raise OriginError(502, f"the VPC origin {vpc_origin_id} is {record['Status']}, not Deployed")
    endpoint = record["VpcOriginEndpointConfig"]
    return endpoint["OriginProtocolPolicy"], (int(endpoint["HTTPPort"]), int(endpoint["HTTPSPort"]))


def _origin_request(behavior: dict[str, Any], origin: Origin, request: Request, target: str) -> Request:
    """The request that CloudFront sends to the origin: the policies' choice of fields, and its own."""
    header_allowed, cookie_allowed, query_allowed = cloudfront._forwarding_predicates(behavior)
    always = cloudfront._ALWAYS_FORWARD_REQUEST_HEADERS
    headers: Headers = [
        (name, value)
        for name, value in request.headers
        if name not in _NOT_FORWARDED
        and name not in {"host", "user-agent", "cookie", "x-forwarded-for"}
        and (header_allowed(name) or name in always)
    ]
    cookies = [
        pair.strip()
        for pair in request.header("cookie").split(";")
        if pair.strip() and cookie_allowed(pair.partition("=")[0].strip())
    ]
    if cookies:
        headers.append(("cookie", "; ".join(cookies)))
    agent = request.header("user-agent") if header_allowed("user-agent") else ""
    forwarded_for = request.header("x-forwarded-for")
    own = {
        "host": request.header("host") if header_allowed("host") else origin.domain_name,
        "user-agent": agent or "Amazon CloudFront",
        "via": f"1.1 {cloudfront._cf_via_hash()}.cloudfront.net (CloudFront)",
        "x-amz-cf-id": cloudfront._cf_request_id(),
        "x-forwarded-for": f"{forwarded_for}, {request.client}" if forwarded_for else request.client,
    }
    own.update({name.lower(): value for name, value in origin.custom_headers})
    kept = [(name, value) for name, value in headers if name not in own]
    return Request(
        method=request.method,
        target=origin.path + target,
        query=_forwarded_query(request.query, query_allowed),
        headers=[*kept, *own.items()],
        body=request.body,
        scheme=request.scheme,
        client=request.client,
    )


def _forwarded_query(query: str, allowed: Any) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    if all(allowed(name) for name, _value in pairs):
        return query
    return urlencode([pair for pair in pairs if allowed(pair[0])], quote_via=quote)


async def _fetch(origin: Origin, outbound: Request, viewer: Request) -> Response:
    tls = origin.protocol_policy == "https-only" or (
        origin.protocol_policy == "match-viewer" and viewer.scheme == "https"
    )
    port = origin.https_port if tls else origin.http_port
    balancer = _balancer(origin)
    if balancer is None:
        return await _fetch_elsewhere(origin, outbound, viewer)
    source = (
        security_groups.cloudfront_vpc_origin(balancer)
        if origin.vpc_origin_id
        else security_groups.internet()
    )
    if tls:
        _check_certificate(balancer, port, origin, outbound)
    response = await load_balancer.connect(balancer, port, outbound, source, tls=tls)
    reason = response.header(REASON_HEADER)
    if reason is not None and response.status in {502, 504}:
        raise OriginError(response.status, reason)
    return response


def _balancer(origin: Origin) -> LoadBalancer | None:
    if origin.vpc_origin_id:
        arn = cloudfront._vpc_origins[origin.vpc_origin_id]["VpcOriginEndpointConfig"]["Arn"]
        balancer = find_by_arn(arn)
        if balancer is None:
            raise OriginError(504, f"nothing answers for the VPC origin's endpoint {arn}")
        return balancer
    balancer = find_by_dns_name(origin.domain_name)
    if balancer is not None and balancer.internal:
        raise OriginError(504, f"{origin.domain_name} has private addresses: it needs a VPC origin")
    return balancer


def _check_certificate(balancer: LoadBalancer, port: int, origin: Origin, outbound: Request) -> None:
    """CloudFront accepts a certificate for the origin's domain name or for the Host that it forwards.

    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/http-502-bad-gateway.html
    """
    listener = balancer.listener(port)
    if listener is None or listener.get("Protocol") != "HTTPS":
        return
    wanted = {origin.domain_name.lower(), outbound.header("host").lower()}
    names = balancer.certificate_names(listener)
    if not any(_certificate_matches(name, host) for name in names for host in wanted):
        raise OriginError(502, f"no certificate of the listener on port {port} is for {origin.domain_name}")


def _certificate_matches(name: str, host: str) -> bool:
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])


async def _fetch_elsewhere(origin: Origin, outbound: Request, viewer: Request) -> Response:
    """An origin that is no load balancer (S3, a function URL): the emulator fetches it, whole."""
    described: dict[str, Any] = {
        "domain_name": origin.domain_name,
        "origin_path": origin.path,
        "custom_headers": [],
        "s3_bucket": cloudfront._s3_origin_bucket(origin.domain_name) if origin.s3 else None,
        "oac_id": "",
        "oai_id": "",
        "http_port": origin.http_port,
        "https_port": origin.https_port,
        "protocol_policy": origin.protocol_policy,
        "read_timeout": origin.read_timeout,
    }
    try:
        status, _reason, headers, body = await cloudfront._fetch_from_origin(
            described,
            outbound.method,
            outbound.target.removeprefix(origin.path),
            outbound.query,
            outbound.header_map(),
            outbound.body,
            viewer.scheme == "https",
            viewer.client,
            "",
            "",
        )
    except cloudfront.OriginTimeout as error:
        raise OriginError(504, str(error)) from error
    except cloudfront.OriginUnreachable as error:
        raise OriginError(502, str(error)) from error
    return _from_emulator((status, headers, body))


async def _within_timeouts(origin: Origin, fetching: Any) -> Response:
    """Bound the wait for the first byte and every gap after it; the whole answer if the origin says so."""
    deadline = time.monotonic() + origin.completion_timeout if origin.completion_timeout else None
    try:
        response: Response = await asyncio.wait_for(fetching, _allowance(origin, deadline))
    except TimeoutError as error:
        raise OriginError(504, f"the origin sent nothing for {origin.read_timeout:g} s") from error
    response.body = _bounded(origin, deadline, response.body)
    return response


async def _bounded(
    origin: Origin, deadline: float | None, body: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    try:
        while True:
            try:
                chunk = await asyncio.wait_for(anext(body), _allowance(origin, deadline))
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                reason = f"the origin was silent for {origin.read_timeout:g} s"
                raise ResponseAbortedError(reason) from error
            yield chunk
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()


def _allowance(origin: Origin, deadline: float | None) -> float:
    if deadline is None:
        return origin.read_timeout
    return max(0.0, min(origin.read_timeout, deadline - time.monotonic()))


def _viewer_response(behavior: dict[str, Any], request: Request, response: Response) -> Response:
    grouped: dict[str, Any] = {}
    for name, value in response.headers:
        if name in HOP_BY_HOP or name.startswith("proxy-"):
            continue
        if name in grouped:
            earlier = grouped[name]
            grouped[name] = [*(earlier if isinstance(earlier, list) else [earlier]), value]
        else:
            grouped[name] = value
    policy = cloudfront.response_headers_policy_config(behavior.get("response_headers_policy_id"))
    grouped = cloudfront._apply_response_headers_policy(
        grouped, policy, request.header("origin"), request.method
    )
    x_cache = "Miss from cloudfront" if response.status < 400 else _ERROR
    grouped = cloudfront._add_cloudfront_headers(grouped, x_cache, edge_server=False)
    response.headers = _pairs(grouped)
    return response


def _refusal(status: int, explanation: str, reason: str = "") -> Response:
    response = _from_emulator(cloudfront._cf_error_response(status, explanation, _ERROR))
    if reason:
        response.headers.append((REASON_HEADER, reason))
    return response


def _from_emulator(answer: tuple[int, dict[str, Any], bytes]) -> Response:
    status, headers, body = answer
    return Response.of(status, _pairs(headers), body or b"")


def _pairs(headers: dict[str, Any]) -> Headers:
    return [
        (name.lower(), str(value))
        for name, values in headers.items()
        for value in (values if isinstance(values, list) else [values])
    ]
