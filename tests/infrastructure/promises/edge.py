"""What the templates promise of load balancer, listeners and distribution."""

import re
from typing import Any

from tests.infrastructure.cloudformation import (
    Templates,
    get_att,
    resources,
)
from tests.infrastructure.critical_path.evaluation import made
from tests.infrastructure.promises.registry import differences, only, promise, target_groups
from tests.infrastructure.promises.roles import statements_of
from tests.infrastructure.server_source import constant


def _attributes(properties: dict[str, Any], key: str) -> dict[str, Any]:
    return {attribute["Key"]: attribute["Value"] for attribute in properties.get(key, [])}


@promise
def the_load_balancer_suits_long_streams(templates: Templates) -> list[str]:
    """Timeouts, thresholds and attributes for connections that stay open."""
    group = target_groups(templates)["BlueTargetGroup"]
    balancer = only(templates["alb"], "AWS::ElasticLoadBalancingV2::LoadBalancer")
    expected = {
        "TargetType": "ip",
        "Protocol": "HTTP",
        "Port": 8080,
        "HealthCheckPath": "/health",
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 3,
        "HealthCheckIntervalSeconds": 30,
        "HealthCheckTimeoutSeconds": 5,
    }
    breaches = [
        breach for key, value in expected.items() for breach in differences(key, group.get(key), value)
    ]
    group_attributes = _attributes(group, "TargetGroupAttributes")
    for key, value in {
        "deregistration_delay.timeout_seconds": "300",
        "slow_start.duration_seconds": "30",
        "load_balancing.algorithm.type": "round_robin",
        "stickiness.enabled": {"Fn::If": ["IsStateful", "true", "false"]},
        "stickiness.type": "lb_cookie",
        "stickiness.lb_cookie.duration_seconds": "86400",
    }.items():
        breaches += differences(key, group_attributes.get(key), value)
    balancer_attributes = _attributes(balancer, "LoadBalancerAttributes")
    for key, value in {
        "idle_timeout.timeout_seconds": "3600",
        "routing.http.drop_invalid_header_fields.enabled": "true",
        "access_logs.s3.enabled": "true",
        "access_logs.s3.bucket": {"Ref": "AccessLogsBucket"},
    }.items():
        breaches += differences(key, balancer_attributes.get(key), value)
    return breaches


@promise
def nothing_cuts_a_stream_that_the_server_keeps_alive(templates: Templates) -> list[str]:
    """CloudFront and load balancer bear a longer silence than the server makes; the server hangs up last."""
    distribution = only(templates["cloudfront"], "AWS::CloudFront::Distribution")["DistributionConfig"]
    balancer = only(templates["alb"], "AWS::ElasticLoadBalancingV2::LoadBalancer")
    idle = int(_attributes(balancer, "LoadBalancerAttributes")["idle_timeout.timeout_seconds"])
    silence, kept = constant("answers", "PING_SECONDS"), constant("serving", "KEEP_ALIVE_SECONDS")
    breaches = [
        f"{origin['Id']} is given up after {seconds} s, and the server may be silent for {silence} s"
        for origin in distribution["Origins"]
        if (seconds := origin.get("VpcOriginConfig", {}).get("OriginReadTimeout", 30)) < 2 * float(silence)
    ]
    if idle < 2 * float(silence):
        breaches.append(
            f"the load balancer cuts after {idle} s, and the server may be silent for {silence} s"
        )
    if float(kept) <= idle:
        breaches.append(f"the server hangs up after {kept} s, before the load balancer's {idle} s")
    return breaches


@promise
def access_logs_are_private_and_expire(templates: Templates) -> list[str]:
    """Encrypted, closed to the public, kept for a while, written by the load balancer service only."""
    bucket = only(templates["alb"], "AWS::S3::Bucket")
    block = bucket.get("PublicAccessBlockConfiguration", {})
    breaches = differences("public access block", [block.get(key) for key in sorted(block)], [True] * 4)
    if "BucketEncryption" not in bucket:
        breaches.append("the bucket isn't encrypted")
    if "ExpirationInDays" not in str(bucket.get("LifecycleConfiguration")):
        breaches.append("access logs are kept for ever")
    ours = "${AccessLogsBucket.Arn}/AWSLogs/${AWS::AccountId}/*"
    for region in ("eu-west-1", "us-gov-west-1"):
        policy = made(templates["alb"], {}, region)["AccessLogsPolicy"]["Properties"]
        allowed = [item for item in statements_of(policy["PolicyDocument"]) if item["Effect"] == "Allow"]
        writers = [next(iter(statement["Principal"].items())) for statement in allowed]
        service = ("Service", "logdelivery.elasticloadbalancing.amazonaws.com")
        breaches += differences(f"first writer in {region}", writers[:1], [service])
        of_accounts = ["AWS"] if region == "us-gov-west-1" else []
        breaches += differences(f"other writers in {region}", [kind for kind, _ in writers[1:]], of_accounts)
        for statement in allowed:
            breaches += differences("what they do", statement["Action"], "s3:PutObject")
            breaches += differences("where they write", statement["Resource"], {"Fn::Sub": ours})
    return breaches


@promise
def cloudfront_speaks_what_the_listener_speaks(templates: Templates) -> list[str]:
    """Another protocol than the listener's ends in 504, another name than the certificate's in 502."""
    listeners = resources(templates["alb"], "AWS::ElasticLoadBalancingV2::Listener")
    edge, root = templates["cloudfront"], templates["main"]["Resources"]
    origins = resources(edge, "AWS::CloudFront::VpcOrigin")
    breaches = []
    for name, listener, policy, port in (
        ("VpcOrigin", "HttpListener", "http-only", "HTTPPort"),
        ("HttpsVpcOrigin", "HttpsListener", "https-only", "HTTPSPort"),
    ):
        origin = origins[name]["VpcOriginEndpointConfig"]
        breaches += differences(f"OriginProtocolPolicy of {name}", origin.get("OriginProtocolPolicy"), policy)
        breaches += differences(f"port of {name}", origin.get(port), listeners[listener]["Port"])
        spoken = policy.removesuffix("-only").upper()
        breaches += differences(f"protocol of {listener}", listeners[listener]["Protocol"], spoken)
    (origin,) = only(edge, "AWS::CloudFront::Distribution")["DistributionConfig"]["Origins"]
    chosen: dict[str, list[Any]] = {
        "DomainName": [{"Ref": "LoadBalancerDomainName"}, {"Ref": "LoadBalancerDnsName"}],
        "VpcOriginId": [{"Fn::GetAtt": [name, "Id"]} for name in ("HttpsVpcOrigin", "VpcOrigin")],
    }
    for key, values in chosen.items():
        found = {**origin, **origin["VpcOriginConfig"]}.get(key)
        breaches += differences(key, found, {"Fn::If": ["HasHttpsOrigin", *values]})
    # Both follow from one pair of parameters, of which a rule refuses half.
    passed = root["CloudFront"]["Properties"]["Parameters"].get("LoadBalancerDomainName")
    breaches += differences("name passed", passed, {"Ref": "LoadBalancerDomainName"})
    passed = root["Alb"]["Properties"]["Parameters"].get("CertificateArn")
    return breaches + differences("certificate passed", passed, {"Ref": "LoadBalancerCertificateArn"})


@promise
def the_load_balancer_keeps_http_and_tls_apart(templates: Templates) -> list[str]:
    """With a certificate plain HTTP is only redirected, and TLS is 1.3 where the caller knows it."""
    listeners = resources(templates["alb"], "AWS::ElasticLoadBalancingV2::Listener")
    (action,) = listeners["HttpListener"]["DefaultActions"]
    redirect = {
        "Type": "redirect",
        "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"},
    }
    breaches = differences("HTTP with a certificate", action["Fn::If"][:2], ["HasCertificate", redirect])
    https = listeners["HttpsListener"].get("SslPolicy")
    if not str(https).startswith("ELBSecurityPolicy-TLS13-1-2-Res"):
        breaches.append(f"the policy of TLS is {https}")
    test = listeners["TestListener"]
    chosen = {"Fn::If": ["HasCertificate", "HTTPS", "HTTP"]}
    breaches += differences("protocol of the test listener", test["Protocol"], chosen)
    policy = {"Fn::If": ["HasCertificate", https, {"Ref": "AWS::NoValue"}]}
    return breaches + differences("policy of the test listener", test.get("SslPolicy"), policy)


@promise
def cloudfront_passes_everything_and_keeps_nothing(templates: Templates) -> list[str]:
    """All seven methods, all headers, HTTPS only, CORS and security headers, nothing cached or held back."""
    distribution = only(templates["cloudfront"], "AWS::CloudFront::Distribution")["DistributionConfig"]
    behaviour = distribution["DefaultCacheBehavior"]
    methods = {"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"}
    policies = templates["cloudfront"]["Mappings"]["ManagedPolicy"]
    chosen = {
        key: policies[behaviour[key]["Fn::FindInMap"][1]]["Id"]
        for key in ("CachePolicyId", "OriginRequestPolicyId", "ResponseHeadersPolicyId")
    }
    (origin,) = distribution["Origins"]
    timeout = origin["VpcOriginConfig"].get("OriginReadTimeout", 30)
    # https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html
    return (
        differences("methods", set(behaviour.get("AllowedMethods", [])), methods)
        + differences("viewer protocol", behaviour["ViewerProtocolPolicy"], "redirect-to-https")
        + differences("CachingDisabled", chosen["CachePolicyId"], "4135ea2d-6df8-44a3-9df3-4b5a84be39ad")
        + differences("AllViewer", chosen["OriginRequestPolicyId"], "216adef6-5c7f-47e4-b989-5492eafa07d3")
        + differences(
            "CORS-with-preflight-and-SecurityHeadersPolicy",
            chosen["ResponseHeadersPolicyId"],
            "eaab4381-ed33-4a86-88ca-d9558dc6cd63",
        )
        + differences("Compress", behaviour.get("Compress"), False)
        + ([] if 60 <= timeout <= 120 else [f"OriginReadTimeout is {timeout}"])
    )


@promise
def the_web_acl_lets_mcp_by(templates: Templates) -> list[str]:
    """Big bodies and callers without User-Agent are counted, not blocked; addresses are limited."""
    acl = only(templates["waf"], "Custom::EdgeWebAcl")
    groups = {group["Name"]: group.get("CountedRules", []) for group in acl.get("ManagedRuleGroups", [])}
    counted = groups.get("AWSManagedRulesCommonRuleSet")
    passed = templates["main"]["Resources"]["CloudFront"]["Properties"]["Parameters"]["WebAclArn"]
    used = only(templates["cloudfront"], "AWS::CloudFront::Distribution")["DistributionConfig"].get(
        "WebACLId"
    )
    return (
        differences("counted rules", counted, ["SizeRestrictions_BODY", "NoUserAgent_HEADER"])
        + differences("RateLimit", acl.get("RateLimit"), {"Ref": "RateLimit"})
        + differences(
            "web ACL passed",
            passed,
            {"Fn::If": ["HasWebAcl", {"Fn::GetAtt": ["Waf", "Outputs.WebAclArn"]}, ""]},
        )
        + differences(
            "web ACL of the distribution",
            used,
            {"Fn::If": ["HasWebAcl", {"Ref": "WebAclArn"}, {"Ref": "AWS::NoValue"}]},
        )
    )


@promise
def the_load_balancers_web_acl_lets_mcp_by(templates: Templates) -> list[str]:
    """It blocks what the server would refuse for its size, and nothing else by its body; it is extra."""
    acl = only(templates["load-balancer-waf"], "AWS::WAFv2::WebACL")
    rules = {rule["Name"]: rule["Statement"] for rule in acl["Rules"]}
    statement = rules.get("size", {}).get("RegexMatchStatement", {})
    too_long = re.compile(statement.get("RegexString", ""))
    lengths = [0, 9_999, 4_194_304, 4_194_305, 4_194_310, 4_194_400, 4_195_000, 4_200_000, 10_000_000, 10**12]
    blocked = [length for length in lengths if too_long.search(str(length))]
    rate = rules.get("rate", {}).get("RateBasedStatement", {})
    default = templates["main"]["Parameters"]["LoadBalancerWebAcl"]["Default"]
    return (
        differences("rules", sorted(rules), ["rate", "size"])
        + differences("header", statement.get("FieldToMatch"), {"SingleHeader": {"Name": "content-length"}})
        + differences("lengths that are blocked", blocked, lengths[3:])
        + differences("whose rate", rate.get("AggregateKeyType"), "FORWARDED_IP")
        + differences("rate", rate.get("Limit"), {"Ref": "RateLimit"})
        + differences("default action", acl.get("DefaultAction"), {"Allow": {}})
        + differences("LoadBalancerWebAcl", default, "false")
    )


@promise
def production_has_a_web_acl_unless_it_is_switched_off(templates: Templates) -> list[str]:
    """Who says nothing gets the web ACL and the access log."""
    parameters = templates["main"]["Parameters"]
    return differences("WebAcl", parameters["WebAcl"]["Default"], "true") + differences(
        "AccessLog", parameters["AccessLog"]["Default"], "true"
    )


@promise
def the_endpoints_own_name_answers_on_both_address_families(templates: Templates) -> list[str]:
    """Alias records of types A and AAAA, and a certificate with TLS 1.2 or newer and no extra address."""
    cloudfront = templates["cloudfront"]
    records = resources(cloudfront, "AWS::Route53::RecordSet")
    targets = {record["Type"]: record.get("AliasTarget", {}) for record in records.values()}
    breaches = differences("record types", sorted(targets), ["A", "AAAA"])
    zone = {"Fn::FindInMap": ["Edge", {"Ref": "AWS::Partition"}, "HostedZoneId"]}
    for kind, target in targets.items():
        breaches += differences(
            f"target of {kind}", get_att(target.get("DNSName")), "Distribution.DomainName"
        )
        breaches += differences(f"zone of {kind}", target.get("HostedZoneId"), zone)
    distribution = only(cloudfront, "AWS::CloudFront::Distribution")["DistributionConfig"]
    condition, own, _ = distribution["ViewerCertificate"].get("Fn::If", ["", {}, {}])
    breaches += differences("condition of the certificate", condition, "HasDomainName")
    breaches += differences("SslSupportMethod", own.get("SslSupportMethod"), "sni-only")
    return breaches + differences("MinimumProtocolVersion", own.get("MinimumProtocolVersion"), "TLSv1.2_2021")
