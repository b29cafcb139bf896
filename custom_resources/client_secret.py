"""`Custom::ClientSecret`: a Cognito app client's secret, copied to Secrets Manager and to nowhere else.

`Fn::GetAtt` gives the secret too, but then it stands among another resource's properties, where templates,
change sets and events are read by people who should not read secrets.
"""

import json
import logging
from dataclasses import dataclass

from custom_resources.errors import ResourceError
from custom_resources.issuers import ID_KEY, SECRET_KEY
from custom_resources.lifecycle import Attributes, Request, Resource, lambda_handler_for
from custom_resources.properties import Raw, Update, required_text, text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClientSecretProperties:
    """Properties of `Custom::ClientSecret`."""

    user_pool_id: str = text(
        r"[\w-]+_[0-9a-zA-Z]+",
        "the id of a user pool, such as us-east-1_Abc123",
        description="User pool of the app client.",
    )
    client_id: str = text(
        r"[\w+]{1,128}", "the id of an app client", description="App client, which has a secret."
    )
    secret_arn: str = text(
        r"arn:[\w-]+:secretsmanager:\S{1,1900}",
        "the ARN of a secret",
        description="Secret that becomes JSON with `client_id` and `client_secret`.",
        update=Update.REPLACEMENT,
    )


class ClientSecret(Resource[ClientSecretProperties]):
    """Copies the secret of a Cognito app client to Secrets Manager, without showing it to CloudFormation.

    The secret itself is another resource of the stack, and goes with it.
    """

    model = ClientSecretProperties
    attributes = {  # noqa: RUF012 - ClassVar in the base
        "SecretArn": "ARN of the secret; whoever takes it from here comes after the copy."
    }
    failures = {  # noqa: RUF012
        "… has no secret": "make the app client with `GenerateSecret: true`"
    }

    @staticmethod
    def identify(raw: Raw) -> str:
        """Return `client-secret|<SecretArn>`."""
        return f"client-secret|{required_text(raw, 'SecretArn')}"

    def create(self, request: Request, properties: ClientSecretProperties) -> Attributes:  # noqa: ARG002
        """Copy the secret."""
        clients = self.runtime.clients
        self.runtime.doing(f"reading app client {properties.client_id}")
        client = self.runtime.call(
            lambda: clients.cognito_idp().describe_user_pool_client(
                UserPoolId=properties.user_pool_id, ClientId=properties.client_id
            )
        )["UserPoolClient"]
        secret = client.get("ClientSecret")
        if not secret:
            raise ResourceError(f"App client {properties.client_id} has no secret")
        content = json.dumps({ID_KEY: properties.client_id, SECRET_KEY: secret})
        self.runtime.doing(f"writing {properties.secret_arn}")
        self.runtime.call(
            lambda: clients.secrets_manager().put_secret_value(
                SecretId=properties.secret_arn, SecretString=content
            )
        )
        return {"SecretArn": properties.secret_arn}

    def update(
        self,
        request: Request,
        properties: ClientSecretProperties,
        previous: ClientSecretProperties | None,  # noqa: ARG002
    ) -> Attributes:
        """Copy it again."""
        return self.create(request, properties)

    def delete(self, request: Request, properties: ClientSecretProperties | None) -> None:  # noqa: ARG002
        """Leave the secret to the stack, which made it."""
        logger.info("%s is the stack's own", request.physical_resource_id)


handler = lambda_handler_for(ClientSecret)
