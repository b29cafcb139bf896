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
