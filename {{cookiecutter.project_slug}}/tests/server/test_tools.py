"""Tools, called without a server; AWS is stubbed with botocore's own model of it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import NoCredentialsError
from botocore.stub import Stubber
from fastmcp import Client
from fastmcp.exceptions import ToolError

KNOWLEDGE_BASE_ID = "ABCDEFGHIJ"
REQUEST = {
    "knowledgeBaseId": KNOWLEDGE_BASE_ID,
    "retrievalQuery": {"text": "What is it?"},
    "retrievalConfiguration": {"vectorSearchConfiguration": {"numberOfResults": 3}},
}

Package = Callable[[str], Any]


def result(text: str, location: dict[str, Any] | None, score: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"text": text}}
    if location is not None:
        found["location"] = location
    if score is not None:
        found["score"] = score
    return found


@pytest.fixture
def bedrock() -> Iterator[tuple[Any, Stubber]]:
    client = boto3.client(
        "bedrock-agent-runtime",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    with Stubber(client) as stubber:
        yield client, stubber


def search(package: Package, client: Any) -> Any:
    return package("tools.knowledge_base").KnowledgeBase(KNOWLEDGE_BASE_ID, lambda: client)


@pytest.mark.parametrize(("a", "b", "total"), [(10, 20, 30), (-1, 1, 0), (0.5, 0.25, 0.75), (1, 0.5, 1.5)])
def test_simpleadd(package: Package, a: float, b: float, total: float) -> None:
    found = package("tools.simpleadd").simpleadd(a, b)
    assert found == total
    assert type(found) is type(total)


def test_simpleadd_refuses_what_json_cannot_hold(package: Package) -> None:
    with pytest.raises(ToolError, match="too large"):
        package("tools.simpleadd").simpleadd(1e308, 1e308)


def test_passages_carry_text_score_and_source(package: Package, bedrock: tuple[Any, Stubber]) -> None:
    client, stubber = bedrock
    answers = [
        result("First.", {"type": "S3", "s3Location": {"uri": "s3://bucket/a.md"}}, 0.9),
        result("Second.", {"type": "WEB", "webLocation": {"url": "https://docs.example/b"}}, 0.5),
        result("Third.", None, None),
    ]
    stubber.add_response("retrieve", {"retrievalResults": answers}, REQUEST)
    found = search(package, client).search("What is it?", 3).model_dump()["passages"]
    assert found == [
        {"text": "First.", "score": 0.9, "source": "s3://bucket/a.md"},
        {"text": "Second.", "score": 0.5, "source": "https://docs.example/b"},
        {"text": "Third.", "score": None, "source": None},
    ]
    stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AccessDeniedException", "bedrock:Retrieve"),
        ("ResourceNotFoundException", "KNOWLEDGE_BASE_ID"),
        ("ThrottlingException", "Try again"),
        ("SomethingNewException", "log"),
    ],
)
def test_a_refusal_names_the_code_and_what_to_do_but_not_the_message(
    package: Package, bedrock: tuple[Any, Stubber], code: str, advice: str
) -> None:
    client, stubber = bedrock
    stubber.add_client_error("retrieve", code, "role arn:aws:iam::123456789012:role/x is not allowed")
    with pytest.raises(ToolError) as caught:
        search(package, client).search("What is it?", 3)
    assert code in str(caught.value)
    assert advice in str(caught.value)
    assert "123456789012" not in str(caught.value)


def test_missing_credentials_are_a_tool_error(package: Package) -> None:
    class Unsigned:
        def retrieve(self, **_request: Any) -> dict[str, Any]:
            raise NoCredentialsError

    with pytest.raises(ToolError, match="NoCredentialsError"):
        search(package, Unsigned()).search("What is it?", 3)


def test_the_client_is_made_once_for_all_threads(package: Package) -> None:
    made = []

    class Empty:
        def retrieve(self, **_request: Any) -> dict[str, Any]:
            return {"retrievalResults": []}

    def factory() -> Empty:
        made.append(threading.get_ident())
        time.sleep(0.05)
        return Empty()

    knowledge_base = package("tools.knowledge_base").KnowledgeBase(KNOWLEDGE_BASE_ID, factory)
    threads = [threading.Thread(target=knowledge_base.search, args=("?", 1)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_the_real_client_honours_endpoint_and_region(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = package("tools.knowledge_base").bedrock_client()
    assert client.meta.region_name == "eu-north-1"
    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    assert client.meta.config.read_timeout < 60


def call(package: Package, tool: str, arguments: dict[str, Any]) -> Any:
    server = package("app").build_server(package("settings").load_settings())

    async def ask() -> Any:
        async with Client(server) as client:
            return await client.call_tool(tool, arguments, raise_on_error=False)

    return asyncio.run(ask())


def test_without_a_knowledge_base_the_tool_says_so(package: Package) -> None:
    answer = call(package, "search_knowledge_base", {"query": "What is it?"})
    assert answer.is_error
    assert "KNOWLEDGE_BASE_ID" in answer.content[0].text


@pytest.mark.parametrize(
    "arguments", [{"query": ""}, {"query": "x", "max_results": 0}, {"query": "x" * 1001}]
)
def test_arguments_bedrock_would_refuse_are_refused_here(package: Package, arguments: dict[str, Any]) -> None:
    assert call(package, "search_knowledge_base", arguments).is_error


def test_an_unexpected_exception_keeps_its_text_to_itself(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_arguments: object) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(package("tools.knowledge_base").KnowledgeBase, "search", explode)
    answer = call(package, "search_knowledge_base", {"query": "x"})
    assert answer.is_error
    assert "hunter2" not in answer.content[0].text
