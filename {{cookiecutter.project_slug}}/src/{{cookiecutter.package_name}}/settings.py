"""How the server runs, read from environment variables."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError
from pydantic_settings import SettingsConfigDict

from .auth_settings import AuthSettings, Words

# What the MCP library accepts at most.
MAX_BODY_BYTES = 4 * 1024 * 1024

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

# `knowledgeBaseId` of the `Retrieve` operation of bedrock-agent-runtime: an id, or an ARN ending in one.
KNOWLEDGE_BASE_ID = r"^(arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:knowledge-base/)?[0-9a-zA-Z]{10}$"


class SettingsError(Exception):
    """A setting can't be used; the message names the variable and fits on one line."""


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class Settings(AuthSettings):
    """One attribute per environment variable; an empty variable counts as not set."""

    model_config = SettingsConfigDict(env_ignore_empty=True, env_file=None, extra="ignore", frozen=True)

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        validation_alias=AliasChoices("HOST", "MCP_HOST"),
        description="address to listen on; HOST wins over MCP_HOST; a container needs 0.0.0.0",
    )
    port: int = Field(8080, ge=1, le=65535, validation_alias="PORT", description="TCP port to listen on")
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = Field(
        "INFO", validation_alias="LOG_LEVEL", description="least severe log line that is written"
    )
    stateful: bool = Field(
        False,
        validation_alias="MCP_STATEFUL",
        description="keep sessions and stream answers as server-sent events; needs sticky load balancing",
    )
    session_idle_seconds: float = Field(
        1800,
        gt=0,
        allow_inf_nan=False,
        validation_alias="SESSION_IDLE_SECONDS",
        description="with MCP_STATEFUL: end a session this long after its last request or stream",
    )
    shutdown_grace_seconds: float = Field(
        25,
        ge=2,
        allow_inf_nan=False,
        validation_alias="SHUTDOWN_GRACE_SECONDS",
        description="after SIGTERM, end by force after this long; less than the task's stop timeout",
    )
    max_body_bytes: int = Field(
        MAX_BODY_BYTES,
        ge=1,
        le=MAX_BODY_BYTES,
        validation_alias="MAX_BODY_BYTES",
        description="longest request body; more is answered 413",
    )
    body_timeout_seconds: float = Field(
        30,
        gt=0,
        allow_inf_nan=False,
        validation_alias="BODY_TIMEOUT_SECONDS",
        description="time for a request's body to arrive; later is answered 408",
    )
    allowed_hosts: Words = Field(
        (),
        validation_alias="ALLOWED_HOSTS",
        description="Host headers to answer, comma-separated, `*` is a wildcard; others get 421",
    )
    allowed_origins: Words = Field(
        (),
        validation_alias="ALLOWED_ORIGINS",
        description="Origin headers to answer, comma-separated; others get 403",
    )
    cors_origins: Words = Field(
        (),
        validation_alias="CORS_ORIGINS",
        description="origins whose pages may call from a browser, comma-separated, or `*`",
    )
    traces_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/?#\s]+[^?#\s]*$",
        validation_alias=AliasChoices("TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="where spans go by OTLP/HTTP: a collector, or https://xray.<region>.amazonaws.com",
    )
    traces_sample_ratio: float = Field(
        0.05,
        ge=0,
        le=1,
        validation_alias=AliasChoices("TRACES_SAMPLE_RATIO", "OTEL_TRACES_SAMPLER_ARG"),
        description="share of the traces begun here that are kept; a traced caller decides for itself",
    )
    knowledge_base_id: str | None = Field(
        None,
        pattern=KNOWLEDGE_BASE_ID,
        validation_alias="KNOWLEDGE_BASE_ID",
        description="Amazon Bedrock knowledge base searched by search_knowledge_base: id or ARN",
    )


def load_settings(overrides: Mapping[str, object] | None = None) -> Settings:
    """Read the environment.

    `overrides` maps variable names, such as `PORT`, to values that win over it. Raises `SettingsError`.
    """
    values: dict[str, Any] = dict(overrides or {})
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(detail) for detail in error.errors())) from None


def _sentence(detail: Mapping[str, Any]) -> str:
    reason = str(detail["msg"]).removeprefix("Value error, ")
    if not detail["loc"]:
        return reason
    variable = str(detail["loc"][0])
    return f"{variable}={detail['input']!r} can't be used: {reason[:1].lower()}{reason[1:]}"
