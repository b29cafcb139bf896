"""The AgentCore control API through boto3, which reads every answer by the service's own model."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from botocore.exceptions import ClientError
from fastmcp import FastMCP

from local_cloud.launcher import LocalCloud
from tests.local_cloud.agentcore_support import TRUST_POLICY, AgentCore, mcp_server
from tests.local_cloud.data_plane_support import Edge, unique

ABSENT = "https://d0000000000000.cloudfront.net/mcp"
LAMBDA_TARGET = {
    "lambdaArn": "arn:aws:lambda:us-east-1:000000000000:function:x",
    "toolSchema": {"inlinePayload": []},
}
OAUTH_PROVIDER = {"providerArn": "arn:aws:x:y:000000000000:z", "scopes": []}
BY_CODE = {**OAUTH_PROVIDER, "grantType": "AUTHORIZATION_CODE"}


def credential(kind: str, **provider: Any) -> dict[str, Any]:
    """The members of a request that ask for outbound authorization."""
    configuration = {"credentialProviderType": kind, **({"credentialProvider": provider} if provider else {})}
    return {"credentialProviderConfigurations": [configuration]}


@pytest.fixture(scope="module")
def endpoint(edge: Edge) -> Iterator[str]:
    """An MCP server with one tool, behind a distribution."""
    server = FastMCP("adder", version="1")

    @server.tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    with mcp_server(server) as port:
        yield edge.distribution(edge.forwarding_load_balancer(port)) + "/mcp"


@pytest.fixture
def faults(edge: Edge) -> Iterator[Callable[..., httpx2.Response]]:
    """Make the next calls fail."""
    url = edge.cloud.environment()["AWS_ENDPOINT_URL"] + "/faults"
    host = {"host": "agentcore.local-cloud"}
    with httpx2.Client(verify=edge.trust(), trust_env=False) as http:

        def inject(
            operation: str, error: str = "", times: int = 1, message: str = "injected"
        ) -> httpx2.Response:
            fault = {"operation": operation, "error": error, "times": times, "message": message}
            return http.post(url, json=fault, headers=host)

        yield inject
        http.delete(url, headers=host)


def details(error: pytest.ExceptionInfo[ClientError]) -> Any:
    return error.value.response


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_gateway_is_created_then_ready(agentcore: AgentCore) -> None:
    created = agentcore.create_gateway(name="Mixed-Case-1", description="of a test", tags={"a": "b"})
    gateway_id = created["gatewayId"]
    seen = agentcore.api.get_gateway(gatewayIdentifier=gateway_id)
    ready = agentcore.settled_gateway(gateway_id)

    assert created["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (created["status"], seen["status"], ready["status"]) == ("CREATING", "CREATING", "READY")
    assert gateway_id.startswith("mixed-case-1-")
    assert (
        ready["gatewayUrl"] == f"https://{gateway_id}.gateway.bedrock-agentcore.us-east-1.amazonaws.com/mcp"
    )
    assert ready["gatewayArn"].endswith(f":gateway/{gateway_id}")
    assert ready["workloadIdentityDetails"]["workloadIdentityArn"].endswith(gateway_id)
    assert (ready["name"], ready["description"]) == ("Mixed-Case-1", "of a test")
    assert ready["updatedAt"] > ready["createdAt"]
    summaries = agentcore.api.get_paginator("list_gateways").paginate(PaginationConfig={"PageSize": 1})
    assert gateway_id in [item["gatewayId"] for page in summaries for item in page["items"]]


def test_gateways_belong_to_their_region(agentcore: AgentCore, edge: Edge) -> None:
    gateway = agentcore.gateway()
    elsewhere = AgentCore(Edge(edge.cloud, edge.client, region="eu-west-1"))

    with pytest.raises(ClientError) as error:
        elsewhere.api.get_gateway(gatewayIdentifier=gateway["gatewayId"])

    assert code_of(error) == ("ResourceNotFoundException", 404)
    assert ".eu-west-1." in elsewhere.gateway()["gatewayUrl"]


def test_name_is_unique(agentcore: AgentCore) -> None:
    name = agentcore.create_gateway()["name"]

    with pytest.raises(ClientError) as error:
        agentcore.create_gateway(name=name)

    assert code_of(error) == ("ConflictException", 409)


def test_client_token_makes_a_repeated_create_harmless(agentcore: AgentCore) -> None:
    request = {"name": unique("gw"), "roleArn": agentcore.role(), "clientToken": str(uuid.uuid4())}

    first, again = agentcore.create_gateway(**request), agentcore.create_gateway(**request)
    with pytest.raises(ClientError) as error:
        agentcore.create_gateway(**{**request, "description": "another"})

    assert first["gatewayId"] == again["gatewayId"]
    assert code_of(error) == ("ValidationException", 400)
    assert details(error)["reason"] == "IdempotentParameterMismatchException"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "under_score"}, "name"),
        ({"name": "x" * 49}, "name"),
        ({"authorizerType": "PASSWORD"}, "authorizerType"),
        ({"roleArn": "arn:aws:iam::000000000000:user/x"}, "roleArn"),
        ({"exceptionLevel": "INFO"}, "exceptionLevel"),
        ({"description": "x" * 201}, "description"),
        (
            {"protocolConfiguration": {"mcp": {"searchType": "NONE"}}},
            "protocolConfiguration.mcp.searchType",
        ),
        (
            {"protocolConfiguration": {"mcp": {"supportedVersions": ["2024-11-05"]}}},
            "protocolConfiguration.mcp.supportedVersions",
        ),
    ],
)
def test_members_outside_the_model_are_refused(
    agentcore: AgentCore, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(ClientError) as error:
        agentcore.create_gateway(**change)

    assert code_of(error) == ("ValidationException", 400)
    assert details(error)["reason"] == "FieldValidationFailed"
    assert [item["name"] for item in details(error)["fieldList"]] == [field]


def test_missing_members_are_refused_by_the_service_too(edge: Edge) -> None:
    """boto3 checks required members itself, so this request is made without it."""
    from tests.local_cloud.agentcore_support import SigV4

    url = edge.cloud.environment()["AWS_ENDPOINT_URL"]
    with httpx2.Client(verify=edge.trust(), trust_env=False) as http:
        answer = http.post(f"{url}/gateways/", json={"name": "x", "unknown": 1}, auth=SigV4())

    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "ValidationException")
    names = {item["name"] for item in answer.json()["fieldList"]}
    assert names == {"roleArn", "authorizerType"}


def _without_trust(change: dict[str, Any]) -> dict[str, Any]:
    return {**TRUST_POLICY, "Statement": [{**TRUST_POLICY["Statement"][0], **change}]}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "policy",
    [
        _without_trust({"Principal": {"Service": "lambda.amazonaws.com"}}),
        _without_trust({"Effect": "Deny"}),
        _without_trust({"Condition": {"StringEquals": {"aws:SourceAccount": "111111111111"}}}),
        _without_trust(
            {
                "Condition": {
                    "ArnLike": {
                        "aws:SourceArn": "arn:aws:bedrock-agentcore:us-east-1:000000000000:gateway/other-*"
                    }
                }
            }
        ),
    ],
)
def test_role_has_to_trust_the_service(agentcore: AgentCore, policy: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="Role validation failed"):
        agentcore.create_gateway(roleArn=agentcore.role(policy))


def test_role_conditions_of_the_documentation_are_met(agentcore: AgentCore) -> None:
    name = unique("gw")
    gateways = f"arn:aws:bedrock-agentcore:us-east-1:000000000000:gateway/{name}-*"
    condition = {
        "StringEquals": {"aws:SourceAccount": "000000000000"},
        "ArnLike": {"aws:SourceArn": gateways},
    }

    assert agentcore.gateway(name=name, roleArn=agentcore.role(_without_trust({"Condition": condition})))
    with pytest.raises(ClientError, match="Role validation failed"):
        agentcore.create_gateway(roleArn="arn:aws:iam::000000000000:role/absent")


def test_update_replaces_the_whole_configuration(agentcore: AgentCore) -> None:
    gateway = agentcore.gateway(["2025-11-25"], description="first", exceptionLevel="DEBUG")
    request = {
        "gatewayIdentifier": gateway["gatewayId"],
        "name": gateway["name"],
        "roleArn": gateway["roleArn"],
        "authorizerType": "NONE",
    }

    updating = agentcore.api.update_gateway(**request)
    with pytest.raises(ClientError) as busy:
        agentcore.api.update_gateway(**request)
    updated = agentcore.settled_gateway(gateway["gatewayId"])

    assert updating["status"] == "UPDATING"
    assert code_of(busy) == ("ConflictException", 409)
    assert not {"description", "exceptionLevel", "protocolConfiguration", "protocolType"} & set(updated)
    for change, text in (
        ({"name": unique("gw")}, "name"),
        ({"authorizerType": "AWS_IAM"}, "Authorizer type cannot be updated"),
        ({"protocolConfiguration": {"mcp": {"searchType": "SEMANTIC"}}}, "Search type"),
    ):
        with pytest.raises(ClientError, match=text):
            agentcore.api.update_gateway(**{**request, **change})


def test_authorizers_that_are_not_available_are_named(agentcore: AgentCore) -> None:
    with pytest.raises(ClientError, match="authorizerConfiguration is required"):
        agentcore.create_gateway(authorizerType="CUSTOM_JWT")
    discovery = "https://idp.example/.well-known/openid-configuration"
    authorizer = {"discoveryUrl": discovery, "allowedClients": ["c"]}
    configuration = {"customJWTAuthorizer": authorizer}
    with pytest.raises(ClientError, match="must not be set for authorizer type AWS_IAM"):
        agentcore.create_gateway(authorizerType="AWS_IAM", authorizerConfiguration=configuration)
    del authorizer["allowedClients"]
    with pytest.raises(ClientError, match="At least one of allowedAudience"):
        agentcore.create_gateway(authorizerType="CUSTOM_JWT", authorizerConfiguration=configuration)
    with pytest.raises(ClientError, match="not available in the local cloud"):
        agentcore.create_gateway(authorizerType="AUTHENTICATE_ONLY")


def test_target_is_created_indexed_and_ready(agentcore: AgentCore, endpoint: str) -> None:
    gateway_id = agentcore.gateway()["gatewayId"]
    created = agentcore.create_target(gateway_id, endpoint, "adder")
    with pytest.raises(ClientError) as busy:
        agentcore.api.delete_gateway_target(gatewayIdentifier=gateway_id, targetId=created["targetId"])
    ready = agentcore.settled_target(gateway_id, created["targetId"])

    assert (created["status"], created["ResponseMetadata"]["HTTPStatusCode"]) == ("CREATING", 202)
    assert code_of(busy) == ("ConflictException", 409)
    assert (ready["status"], ready["name"], ready["protocolType"]) == ("READY", "adder", "MCP")
    assert ready["lastSynchronizedAt"] >= ready["createdAt"]
    assert ready["credentialProviderConfigurations"] == []
    assert ready["targetConfiguration"]["mcp"]["mcpServer"]["endpoint"] == endpoint
    [summary] = agentcore.api.list_gateway_targets(gatewayIdentifier=gateway_id)["items"]
    assert (summary["targetType"], summary["listingMode"], summary["status"]) == (
        "MCP_SERVER",
        "DEFAULT",
        "READY",
    )
    with pytest.raises(ClientError) as taken:
        agentcore.create_target(gateway_id, endpoint, "adder")
    assert code_of(taken) == ("ConflictException", 409)


def test_target_that_cannot_be_reached_fails_with_the_services_words(
    agentcore: AgentCore, edge: Edge
) -> None:
    gateway_id = agentcore.gateway()["gatewayId"]
    internal = edge.load_balancer()["DNSName"]
    cases = {
        ABSENT: "returned HTTP 502 to the initialize handshake",
        "https://nowhere.example/mcp": "Unable to connect to the MCP server",
        "https://127.0.0.1:8443/mcp": "Unable to connect to the MCP server",
        f"https://{internal}/mcp": "returned HTTP 502 to the initialize handshake",
    }
    targets = {url: agentcore.create_target(gateway_id, url)["targetId"] for url in cases}

    for url, text in cases.items():
        failed = agentcore.settled_target(gateway_id, targets[url])
        assert failed["status"] == "FAILED"
        [reason] = failed["statusReasons"]
        assert reason.startswith(
            "Failed to connect and fetch tools from the provided MCP target server. Please check"
        )
        assert text in reason
        assert "lastSynchronizedAt" not in failed


def test_synchronize_refreshes_the_time_and_refuses_what_cannot_be_synchronized(
    agentcore: AgentCore, endpoint: str
) -> None:
    gateway_id = agentcore.gateway()["gatewayId"]
    target = agentcore.target(gateway_id, endpoint)
    dynamic = agentcore.target(gateway_id, endpoint, listingMode="DYNAMIC")
    failed = agentcore.target(gateway_id, ABSENT)

    def synchronize(target_id: str) -> Any:
        return agentcore.api.synchronize_gateway_targets(
            gatewayIdentifier=gateway_id, targetIdList=[target_id]
        )

    answer = synchronize(target["targetId"])
    with pytest.raises(ClientError) as busy:
        synchronize(target["targetId"])
    after = agentcore.settled_target(gateway_id, target["targetId"])

    assert [item["status"] for item in answer["targets"]] == ["SYNCHRONIZING"]
    assert code_of(busy) == ("ConflictException", 409)
    assert (after["status"], dynamic["status"]) == ("READY", "READY")
    assert after["lastSynchronizedAt"] > target["lastSynchronizedAt"]
    assert "lastSynchronizedAt" not in dynamic
    with pytest.raises(ClientError, match="DYNAMIC"):
        synchronize(dynamic["targetId"])
    with pytest.raises(ClientError, match="FAILED"):
        synchronize(failed["targetId"])
    with pytest.raises(ClientError) as two:
        agentcore.api.synchronize_gateway_targets(
            gatewayIdentifier=gateway_id, targetIdList=[target["targetId"], failed["targetId"]]
        )
    assert code_of(two) == ("ValidationException", 400)


def test_synchronization_that_fails_keeps_the_target(
    agentcore: AgentCore, endpoint: str, faults: Callable[..., httpx2.Response]
) -> None:
    gateway_id = agentcore.gateway()["gatewayId"]
    target = agentcore.target(gateway_id, endpoint)
    faults("ConnectTarget", message="the server is asleep")

    agentcore.api.synchronize_gateway_targets(gatewayIdentifier=gateway_id, targetIdList=[target["targetId"]])
    after = agentcore.settled_target(gateway_id, target["targetId"])

    assert after["status"] == "SYNCHRONIZE_UNSUCCESSFUL"
    assert after["statusReasons"][0].endswith("the server is asleep")
    assert after["lastSynchronizedAt"] == target["lastSynchronizedAt"]


def test_target_update_replaces_and_indexes_again(agentcore: AgentCore, endpoint: str) -> None:
    gateway_id = agentcore.gateway()["gatewayId"]
    target = agentcore.target(gateway_id, ABSENT)

    def update(**change: Any) -> Any:
        configuration = {"mcp": {"mcpServer": {"endpoint": endpoint}}}
        request = {"gatewayIdentifier": gateway_id, "targetId": target["targetId"]}
        return agentcore.api.update_gateway_target(
            **{**request, "targetConfiguration": configuration, **change}
        )

    assert update(description="mended")["status"] == "UPDATING"
    mended = agentcore.settled_target(gateway_id, target["targetId"])
    assert (mended["status"], mended["description"], "statusReasons" in mended) == ("READY", "mended", False)
    update(targetConfiguration={"mcp": {"mcpServer": {"endpoint": ABSENT}}})
    broken = agentcore.settled_target(gateway_id, target["targetId"])
    assert (broken["status"], "description" in broken) == ("UPDATE_UNSUCCESSFUL", False)


def test_gateway_with_targets_is_not_deleted(agentcore: AgentCore, endpoint: str) -> None:
    gateway_id = agentcore.gateway()["gatewayId"]
    target_id = agentcore.target(gateway_id, endpoint)["targetId"]
    request = {"gatewayIdentifier": gateway_id}
    with pytest.raises(ClientError, match="has targets associated with it") as error:
        agentcore.api.delete_gateway(**request)
    assert code_of(error) == ("ValidationException", 400)

    assert agentcore.api.delete_gateway_target(**request, targetId=target_id)["status"] == "DELETING"
    assert agentcore.api.get_gateway_target(**request, targetId=target_id)["status"] == "DELETING"
    while agentcore.api.list_gateway_targets(**request)["items"]:
        time.sleep(0.01)
    with pytest.raises(ClientError, match="has targets associated with it"):
        agentcore.api.delete_gateway(**request)
    with pytest.raises(ClientError) as gone:
        agentcore.api.get_gateway_target(**request, targetId=target_id)
    assert code_of(gone) == ("ResourceNotFoundException", 404)
    time.sleep(0.4)
    assert agentcore.api.delete_gateway(**request)["status"] == "DELETING"
    time.sleep(0.6)
    with pytest.raises(ClientError) as missing:
        agentcore.api.get_gateway(**request)
    assert code_of(missing) == ("ResourceNotFoundException", 404)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": "under_score"}, "name"),
        ({"targetConfiguration": {"mcp": {"mcpServer": {"endpoint": "http://x.example/mcp"}}}}, "https://"),
        ({"targetConfiguration": {"mcp": {"lambda": LAMBDA_TARGET}}}, "mcpServer only"),
        (credential("JWT_PASSTHROUGH"), "not supported"),
        (credential("GATEWAY_IAM_ROLE"), "iamCredentialProvider"),
        (credential("OAUTH"), "oauthCredentialProvider is required"),
        (credential("OAUTH", oauthCredentialProvider=OAUTH_PROVIDER), "not found"),
        (credential("OAUTH", oauthCredentialProvider=BY_CODE), "CLIENT_CREDENTIALS only"),
        (credential("API_KEY"), "not available in the local cloud"),
    ],
)
def test_target_requests_that_are_refused(agentcore: AgentCore, change: dict[str, Any], text: str) -> None:
    gateway_id = agentcore.gateway()["gatewayId"]
    request = {
        "gatewayIdentifier": gateway_id,
        "name": unique("target"),
        "targetConfiguration": {"mcp": {"mcpServer": {"endpoint": ABSENT}}},
    }
    with pytest.raises(ClientError, match=text) as error:
        agentcore.api.create_gateway_target(**{**request, **change})
    assert code_of(error) == ("ValidationException", 400)


def test_dynamic_listing_excludes_semantic_search(agentcore: AgentCore) -> None:
    gateway = agentcore.gateway(protocolConfiguration={"mcp": {"searchType": "SEMANTIC"}})
    with pytest.raises(ClientError, match="semantic search"):
        agentcore.create_target(gateway["gatewayId"], ABSENT, listingMode="DYNAMIC")


def test_tags(agentcore: AgentCore) -> None:
    arn = agentcore.gateway(tags={"team": "a", "stage": "dev"})["gatewayArn"]
    agentcore.api.tag_resource(resourceArn=arn, tags={"team": "b"})
    agentcore.api.untag_resource(resourceArn=arn, tagKeys=["stage"])

    assert agentcore.api.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "b"}


def test_injected_faults_come_once_each(
    agentcore: AgentCore, local_cloud: LocalCloud, faults: Callable[..., httpx2.Response]
) -> None:
    assert faults("CreateGateway", "ServiceQuotaExceededException").status_code == 201
    assert faults("NoSuchOperation", "ThrottlingException").status_code == 400

    with pytest.raises(ClientError) as error:
        agentcore.create_gateway()
    assert code_of(error) == ("ServiceQuotaExceededException", 402)
    assert agentcore.create_gateway()["status"] == "CREATING"


def test_other_apis_of_the_service_still_answer(agentcore: AgentCore) -> None:
    assert agentcore.api.list_agent_runtimes()["agentRuntimes"] == []


GATEWAY_TEMPLATE = {
    "Parameters": {
        "Text": {"Type": "String", "Default": "one"},
        "Authorizer": {"Type": "String", "Default": "AWS_IAM"},
    },
    "Resources": {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST_POLICY}},
        "Gateway": {
            "Type": "AWS::BedrockAgentCore::Gateway",
            "Properties": {
                "Name": {"Fn::Sub": "${AWS::StackName}-gw"},
                "Description": {"Ref": "Text"},
                "AuthorizerType": {"Ref": "Authorizer"},
                "ProtocolType": "MCP",
                "ProtocolConfiguration": {
                    "Mcp": {"SupportedVersions": ["2025-11-25"], "SearchType": "SEMANTIC"}
                },
                "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                "Tags": {"team": "a"},
            },
        },
    },
    "Outputs": {
        "Id": {"Value": {"Ref": "Gateway"}},
        "Identifier": {"Value": {"Fn::GetAtt": ["Gateway", "GatewayIdentifier"]}},
        "Url": {"Value": {"Fn::GetAtt": ["Gateway", "GatewayUrl"]}},
        "Arn": {"Value": {"Fn::GetAtt": ["Gateway", "GatewayArn"]}},
        "Status": {"Value": {"Fn::GetAtt": ["Gateway", "Status"]}},
    },
}


def test_gateway_from_a_template(agentcore: AgentCore, edge: Edge, endpoint: str) -> None:
    cloudformation = edge.api("cloudformation")
    name = unique("gateway-stack")

    def settled() -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while True:
            stack: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
            if not stack["StackStatus"].endswith("_IN_PROGRESS"):
                return stack
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def update(**values: str) -> str:
        parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]
        cloudformation.update_stack(
            StackName=name,
            TemplateBody=json.dumps(GATEWAY_TEMPLATE),
            Parameters=parameters,
            Capabilities=["CAPABILITY_IAM"],
        )
        return str(settled()["StackStatus"])

    cloudformation.create_stack(
        StackName=name, TemplateBody=json.dumps(GATEWAY_TEMPLATE), Capabilities=["CAPABILITY_IAM"]
    )
    stack = settled()
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}
    gateway = agentcore.api.get_gateway(gatewayIdentifier=outputs["Id"])
    assert (outputs["Identifier"], outputs["Url"]) == (gateway["gatewayId"], gateway["gatewayUrl"])
    assert (outputs["Arn"], outputs["Status"]) == (gateway["gatewayArn"], "READY")
    assert agentcore.api.list_tags_for_resource(resourceArn=outputs["Arn"])["tags"]["team"] == "a"

    assert update(Text="two") == "UPDATE_COMPLETE"
    assert agentcore.api.get_gateway(gatewayIdentifier=outputs["Id"])["description"] == "two"
    assert update(Text="three", Authorizer="NONE") == "UPDATE_ROLLBACK_COMPLETE"
    assert agentcore.api.get_gateway(gatewayIdentifier=outputs["Id"])["description"] == "two"

    target_id = agentcore.target(outputs["Id"], endpoint)["targetId"]
    cloudformation.delete_stack(StackName=name)
    assert settled()["StackStatus"] == "DELETE_FAILED"
    agentcore.api.delete_gateway_target(gatewayIdentifier=outputs["Id"], targetId=target_id)
    while agentcore.api.list_gateway_targets(gatewayIdentifier=outputs["Id"])["items"]:
        time.sleep(0.01)
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    with pytest.raises(ClientError) as missing:
        agentcore.api.get_gateway(gatewayIdentifier=outputs["Id"])
    assert code_of(missing) == ("ResourceNotFoundException", 404)
