"""`search_knowledge_base`: passages from an Amazon Bedrock knowledge base, read with the task's role."""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol

import structlog
from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from ..settings import Settings

logger = structlog.get_logger(__name__)

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 30
ATTEMPTS = 3

# Error codes of the Retrieve operation, and of signing, that have a remedy worth naming.
ADVICE = {
    "AccessDeniedException": "Allow the server's role bedrock:Retrieve on the knowledge base.",
    "ExpiredTokenException": "Renew the AWS credentials.",
    "ResourceNotFoundException": "Check KNOWLEDGE_BASE_ID and the region: the knowledge base isn't there.",
    "ThrottlingException": "Try again in a few seconds.",
    "UnrecognizedClientException": "Check the AWS credentials: AWS doesn't know them.",
    "ValidationException": "Check that KNOWLEDGE_BASE_ID names a knowledge base with a vector index.",
}
OTHER_ADVICE = "The server's log says more."


class RetrieveClient(Protocol):
    """The part of boto3's bedrock-agent-runtime client that is used."""

    def retrieve(self, **request: Any) -> Mapping[str, Any]:
        """Search a knowledge base."""


class Passage(BaseModel):
    """A piece of a document that answers the query."""

    text: str = Field(description="The passage itself")
    score: float | None = Field(None, description="Relevance; higher is better, comparable within one search")
    source: str | None = Field(None, description="Where the document lies, such as s3://bucket/key")


class SearchResult(BaseModel):
    """Passages, the most relevant first."""

    passages: list[Passage]


def bedrock_client() -> RetrieveClient:
    """Return a client with the default credentials, region and endpoint (AWS_ENDPOINT_URL is honoured)."""
    # boto3 takes a good part of a second to import: paid at the first search, not at every start.
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    # AWS_REGION is what tasks and functions are given; boto3 itself reads AWS_DEFAULT_REGION only.
    region = os.environ.get("AWS_REGION") or None
    client: RetrieveClient = boto3.client("bedrock-agent-runtime", region_name=region, config=config)
    return client


class KnowledgeBase:
    """One knowledge base; its client is made at the first search and shared by all threads."""

    def __init__(
        self, knowledge_base_id: str | None, client_factory: Callable[[], RetrieveClient] = bedrock_client
    ) -> None:
        self._knowledge_base_id = knowledge_base_id
        self._client_factory = client_factory
        self._client: RetrieveClient | None = None
        self._lock = threading.Lock()

    def search(self, query: str, max_results: int) -> SearchResult:
        """Return at most `max_results` passages. Raises `ToolError` where AWS can't be asked or refuses."""
        if self._knowledge_base_id is None:
            raise ToolError("No knowledge base is configured. Set KNOWLEDGE_BASE_ID and restart the server.")
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._connected().retrieve(
                knowledgeBaseId=self._knowledge_base_id,
                retrievalQuery={"text": query},
                retrievalConfiguration={"vectorSearchConfiguration": {"numberOfResults": max_results}},
            )
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "Unknown"))
            logger.warning("knowledge_base.refused", code=code, exc_info=True)
            raise ToolError(
                f"Amazon Bedrock refused the search: {code}. {ADVICE.get(code, OTHER_ADVICE)}"
            ) from None
        except BotoCoreError as error:
            kind = type(error).__name__
            logger.warning("knowledge_base.unreachable", kind=kind, exc_info=True)
            raise ToolError(
                f"Amazon Bedrock could not be asked: {kind}. "
                "Check the server's AWS credentials, its region and its way to bedrock-agent-runtime."
            ) from None
        return SearchResult(passages=[_passage(result) for result in answer["retrievalResults"]])

    def _connected(self) -> RetrieveClient:
        with self._lock:
            if self._client is None:
                self._client = self._client_factory()
            return self._client


def _passage(result: Mapping[str, Any]) -> Passage:
    content = result.get("content", {})
    text = content.get("text") or content.get("audio", {}).get("transcription")
    return Passage(
        text=text or content.get("video", {}).get("summary") or "",
        score=result.get("score"),
        source=_source(result.get("location", {})),
    )


def _source(location: Mapping[str, Any]) -> str | None:
    # A location is {"type": "S3", "s3Location": {"uri": …}}; other types say url, id or query instead of uri.
    for details in location.values():
        if isinstance(details, Mapping):
            return next((str(details[key]) for key in ("uri", "url", "id", "query") if key in details), None)
    return None


def register(server: FastMCP[None], settings: Settings) -> None:
    """Add the tool to the server."""
    knowledge_base = KnowledgeBase(settings.knowledge_base_id)

    hints = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=True)

    @server.tool(annotations=hints)
    def search_knowledge_base(
        query: Annotated[
            str, Field(min_length=1, max_length=1000, description="What to look for, as a question")
        ],
        max_results: Annotated[int, Field(ge=1, le=100, description="How many passages at most")] = 5,
    ) -> SearchResult:
        """Search the organisation's documents and return the passages that answer a question best."""
        return knowledge_base.search(query, max_results)
