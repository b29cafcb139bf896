"""The two environments of a local cloud: the emulator's own, and the one that makes a process its client."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

NO_PROXY = "127.0.0.1,localhost"

_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_TRUST_VARIABLES = (
    "AWS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)


def forget_callers_cloud(environment: MutableMapping[str, str]) -> None:
    """Remove what the person who starts the cloud uses for real AWS: profiles, keys, proxies, trust."""
    for name in list(environment):
        if name.startswith("AWS_") or name.upper() in (*_PROXY_VARIABLES, *_TRUST_VARIABLES):
            del environment[name]


def emulator_environment(*, port: int, region: str, verbose: bool) -> dict[str, str]:
    """Return settings for ministack, which reads them while it is imported."""
    return {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": region,
        "MINISTACK_ACCOUNT_ID": "000000000000",
        # Custom resources answer to an https ResponseURL, as on AWS (crhelper speaks nothing else).
        "USE_SSL": "1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "0",
        "LAMBDA_EXECUTOR": "local",
        # No container daemon is asked, whatever is installed on the machine.
        "DOCKER_HOST": "unix:///nonexistent/local-cloud-has-no-docker.sock",
        "LOG_LEVEL": "DEBUG" if verbose else "INFO",
    }


def client_environment(
    *, api_url: str, proxy_url: str, ca_bundle: Path, region: str, config_directory: Path
) -> dict[str, str]:
    """Variables under which the AWS CLI, SDKs, curl and Python's HTTP clients use the cloud and nothing else.

    ``config_directory`` gets empty AWS configuration files, so that a person's own profiles play no part.
    """
    config_directory.mkdir(parents=True, exist_ok=True)
    config, credentials = config_directory / "config", config_directory / "credentials"
    config.touch()
    credentials.touch()
    environment = {
        "AWS_ENDPOINT_URL": api_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
    }
    for name in (
        "AWS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
    ):
        environment[name] = str(ca_bundle)
    for name, value in (("HTTPS_PROXY", proxy_url), ("HTTP_PROXY", proxy_url), ("NO_PROXY", NO_PROXY)):
        # Both spellings: curl reads HTTP_PROXY in lower case only, and lower case wins in Python.
        environment[name] = environment[name.lower()] = value
    return environment


def with_region(environment: Mapping[str, str], region: str) -> dict[str, str]:
    """Return a copy of ``environment`` whose default region is ``region``."""
    return {**environment, "AWS_DEFAULT_REGION": region, "AWS_REGION": region}


def install_in_process(environment: Mapping[str, str]) -> None:
    """Make children of this process clients of the cloud (Lambda workers inherit it)."""
    os.environ.update(environment)
