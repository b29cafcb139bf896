"""One AWS session: region, account, clients."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sts.client import STSClient


# CloudFront's own, where a distribution's web ACL, certificate and logs are.
EDGE_REGION = "us-east-1"


class Aws:
    """Clients of one region, made once each.

    Endpoints, profile, proxies and certificates come from the environment, as the AWS SDK reads them.
    """

    def __init__(self, region: str) -> None:
        self.region = region
        self._session = boto3.Session(region_name=region)
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self._account: str | None = None

    def client(self, service: str, region: str = "") -> Any:
        """Return the client of a service, by its name in boto3, in the session's region or another."""
        key = service, region or self.region
        with self._lock:
            if key not in self._clients:
                config = Config(retries={"mode": "standard"}, connect_timeout=10, max_pool_connections=16)
                make: Callable[..., Any] = self._session.client
                self._clients[key] = make(service, region_name=key[1], config=config)
            return self._clients[key]

    @property
    def cloudformation(self) -> CloudFormationClient:
        """CloudFormation in this region."""
        client: CloudFormationClient = self.client("cloudformation")
        return client

    @property
    def s3(self) -> S3Client:
        """S3, signed for this region."""
        client: S3Client = self.client("s3")
        return client

    @property
    def account(self) -> str:
        """The account id of the credentials."""
        if self._account is None:
            sts: STSClient = self.client("sts")
            self._account = sts.get_caller_identity()["Account"]
        return self._account

    @property
    def partition(self) -> str:
        """Such as `aws` or `aws-cn`."""
        return self._session.get_partition_for_region(self.region)

    @property
    def url_suffix(self) -> str:
        """The value of `AWS::URLSuffix`."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def credentials(self) -> ReadOnlyCredentials | None:
        """Return credentials to sign with, refreshed if they can be; None if there are none."""
        found = self._session.get_credentials()
        return found.get_frozen_credentials() if found else None
