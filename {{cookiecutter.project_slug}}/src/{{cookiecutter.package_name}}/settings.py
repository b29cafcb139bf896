"""How the server runs, read from environment variables."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

# `knowledgeBaseId` of the `Retrieve` operation of bedrock-agent-runtime: an id, or an ARN ending in one.
KNOWLEDGE_BASE_ID = r"^(arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:knowledge-base/)?[0-9a-zA-Z]{10}$"


class SettingsError(Exception):
    """A setting can't be used; the message names the variable and fits on one line."""


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class Settings(BaseSettings):
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
    variable = str(detail["loc"][0]) if detail["loc"] else "environment"
    reason = str(detail["msg"])
    return f"{variable}={detail['input']!r} can't be used: {reason[:1].lower()}{reason[1:]}"
