"""Environment variables become settings, or a sentence that says what is wrong."""

from typing import Any

import pytest


@pytest.fixture
def settings(package: Any) -> Any:
    return package("settings")


def test_defaults_serve_this_machine_only(settings: Any) -> None:
    found = settings.load_settings()
    assert found.host == "127.0.0.1"
    assert found.port == 8080
    assert found.log_level == "INFO"
    assert found.stateful is False
    assert found.knowledge_base_id is None


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        ({"HOST": "0.0.0.0"}, "0.0.0.0"),  # noqa: S104
        ({"MCP_HOST": "127.0.0.2"}, "127.0.0.2"),
        ({"HOST": "127.0.0.3", "MCP_HOST": "127.0.0.2"}, "127.0.0.3"),
        ({"HOST": "", "MCP_HOST": "127.0.0.2"}, "127.0.0.2"),
        ({"HOST": "", "MCP_HOST": ""}, "127.0.0.1"),
    ],
)
def test_host_wins_over_mcp_host(
    settings: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], host: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert settings.load_settings().host == host


def test_overrides_win_over_the_environment(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "127.0.0.3")
    monkeypatch.setenv("MCP_HOST", "127.0.0.4")
    monkeypatch.setenv("PORT", "9000")
    found = settings.load_settings({"HOST": "127.0.0.5", "PORT": "9001"})
    assert (found.host, found.port) == ("127.0.0.5", 9001)


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("PORT", "65535", "port", 65535),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("MCP_STATEFUL", "true", "stateful", True),
        ("MCP_STATEFUL", "false", "stateful", False),
        ("MCP_STATEFUL", "", "stateful", False),
        ("SESSION_IDLE_SECONDS", "60", "session_idle_seconds", 60),
        ("SHUTDOWN_GRACE_SECONDS", "110", "shutdown_grace_seconds", 110),
        ("MAX_BODY_BYTES", "1024", "max_body_bytes", 1024),
        ("BODY_TIMEOUT_SECONDS", "2.5", "body_timeout_seconds", 2.5),
        ("ALLOWED_HOSTS", "a.example, *.b.example,", "allowed_hosts", ("a.example", "*.b.example")),
        ("ALLOWED_ORIGINS", "https://a.example", "allowed_origins", ("https://a.example",)),
        ("CORS_ORIGINS", "", "cors_origins", ()),
        ("TRACES_ENDPOINT", "http://127.0.0.1:4318", "traces_endpoint", "http://127.0.0.1:4318"),
        ("TRACES_ENDPOINT", "", "traces_endpoint", None),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1/x", "traces_endpoint", "http://a:1/x"),
        ("TRACES_SAMPLE_RATIO", "1", "traces_sample_ratio", 1.0),
        ("OTEL_TRACES_SAMPLER_ARG", "0", "traces_sample_ratio", 0.0),
        ("KNOWLEDGE_BASE_ID", "ABCDEFGHIJ", "knowledge_base_id", "ABCDEFGHIJ"),
        ("KNOWLEDGE_BASE_ID", "", "knowledge_base_id", None),
    ],
)
def test_a_variable_sets_its_attribute(
    settings: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str, attribute: str, expected: object
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(settings.load_settings(), attribute) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("LOG_LEVEL", "LOUD"),
        ("MCP_STATEFUL", "perhaps"),
        ("SESSION_IDLE_SECONDS", "0"),
        ("SESSION_IDLE_SECONDS", "inf"),
        ("SHUTDOWN_GRACE_SECONDS", "1"),
        ("MAX_BODY_BYTES", "0"),
        ("MAX_BODY_BYTES", "4194305"),
        ("BODY_TIMEOUT_SECONDS", "0"),
        ("BODY_TIMEOUT_SECONDS", "inf"),
        ("TRACES_ENDPOINT", "collector:4317"),
        ("TRACES_SAMPLE_RATIO", "5%"),
        ("TRACES_SAMPLE_RATIO", "1.5"),
        ("KNOWLEDGE_BASE_ID", "not an id"),
    ],
)
def test_a_bad_value_is_one_line_naming_variable_and_value(
    settings: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(settings.SettingsError) as caught:
        settings.load_settings()
    message = str(caught.value)
    assert message.startswith(f"{name}={value!r} ")
    assert "\n" not in message
