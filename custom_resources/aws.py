"""AWS clients and the errors they raise.

boto3 is imported when a client is first asked for, not with the module: a function whose vendored boto3 is
broken can still tell CloudFormation so.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_acm import ACMClient
    from mypy_boto3_bedrock_agentcore_control import BedrockAgentCoreControlClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_codebuild import CodeBuildClient
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_route53 import Route53Client
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_wafv2 import WAFV2Client

    from custom_resources.mcp_probe import Sign

THROTTLING_CODES = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown"}
)
# Short, so that one unanswered call can't outlive the time kept for the response to CloudFormation.
CONNECT_TIMEOUT = 3
READ_TIMEOUT = 10
ATTEMPTS = 2


class Clients:
    """Makes boto3 clients; boto3 takes endpoint, proxy and certificates from the environment."""

    def acm(self, region: str) -> "ACMClient":
        """Client of Certificate Manager in a region."""
        client: ACMClient = self._client("acm", region)
        return client

    def gateway(self) -> "BedrockAgentCoreControlClient":
        """Client of the AgentCore control plane."""
        client: BedrockAgentCoreControlClient = self._client("bedrock-agentcore-control")
        return client

    def cloudformation(self) -> "CloudFormationClient":
        """Client of CloudFormation."""
        client: CloudFormationClient = self._client("cloudformation")
        return client

    def codebuild(self) -> "CodeBuildClient":
        """Client of CodeBuild."""
        client: CodeBuildClient = self._client("codebuild")
        return client

    def cognito_idp(self) -> "CognitoIdentityProviderClient":
        """Client of Cognito's user pools."""
        client: CognitoIdentityProviderClient = self._client("cognito-idp")
        return client

    def ec2(self) -> "EC2Client":
        """Client of EC2 and its networks."""
        client: EC2Client = self._client("ec2")
        return client

    def ecr(self) -> "ECRClient":
        """Client of the container registry."""
        client: ECRClient = self._client("ecr")
        return client

    def elbv2(self) -> "ElasticLoadBalancingv2Client":
        """Client of application load balancers."""
        client: ElasticLoadBalancingv2Client = self._client("elbv2")
        return client

    def functions(self, seconds: float) -> "LambdaClient":
        """Client of Lambda whose calls may take `seconds`, as a function that is waited for does."""
        client: LambdaClient = self._client("lambda", read_timeout=seconds, attempts=1)
        return client

    def logs(self, region: str | None = None) -> "CloudWatchLogsClient":
        """Client of CloudWatch Logs, in the function's region unless another is named."""
        client: CloudWatchLogsClient = self._client("logs", region)
        return client

    def route53(self) -> "Route53Client":
        """Client of Route 53, which is the same in every region."""
        client: Route53Client = self._client("route53")
        return client

    def s3(self) -> "S3Client":
        """Client of S3."""
        client: S3Client = self._client("s3")
        return client

    def wafv2(self, region: str) -> "WAFV2Client":
        """Client of WAF in a region."""
        client: WAFV2Client = self._client("wafv2", region)
        return client

    def sign(self, service: str) -> "Sign":
        """Return a function that signs requests to `service` with the function's own credentials (SigV4)."""
        import boto3
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import NoCredentialsError

        session = boto3.session.Session()
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError

        def sign(method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
            request = AWSRequest(method=method, url=url, data=body, headers=headers)
            SigV4Auth(credentials.get_frozen_credentials(), service, session.region_name).add_auth(request)
            return dict(request.headers.items())

        return sign

    def secrets_manager(self) -> "SecretsManagerClient":
        """Client of Secrets Manager."""
        client: SecretsManagerClient = self._client("secretsmanager")
        return client

    def _client(
        self,
        service: str,
        region: str | None = None,
        *,
        read_timeout: float = READ_TIMEOUT,
        attempts: int = ATTEMPTS,
    ) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
        )
        # A session of its own: boto3's default session must not be shared between threads.
        session = boto3.session.Session(region_name=region)
        return session.client(service, config=config)  # type: ignore[call-overload]


def error_code(error: BaseException) -> str:
    """Return the service's error code of a botocore ClientError, and "" for any other exception."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return ""
    return str(response.get("Error", {}).get("Code", ""))


def error_message(error: BaseException) -> str:
    """Return the service's own message of a botocore ClientError, and the exception's text for any other."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return str(error)
    return str(response.get("Error", {}).get("Message", "")) or str(error)


def is_throttled(error: BaseException) -> bool:
    """Whether the service asked to slow down."""
    return error_code(error) in THROTTLING_CODES
