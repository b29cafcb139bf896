"""Every world, one for each type of custom resource."""

from tests.custom_resources.faults.edge_worlds import AccessLogWorld, CertificateWorld, WebAclWorld
from tests.custom_resources.faults.gateway_world import GatewayWorld
from tests.custom_resources.faults.issuer_worlds import ClientSecretWorld, SigningKeysWorld, ToolCallWorld
from tests.custom_resources.faults.small_worlds import EmptiedWorld, ImageWorld, PrefixListWorld, RuleWorld
from tests.custom_resources.faults.world import World

# Each world with the sequences it gets in the everyday tests.
WORLDS: dict[type[World], int] = {
    GatewayWorld: 150,
    WebAclWorld: 80,
    CertificateWorld: 80,
    AccessLogWorld: 40,
    ImageWorld: 60,
    EmptiedWorld: 20,
    PrefixListWorld: 30,
    RuleWorld: 30,
    ToolCallWorld: 30,
    ClientSecretWorld: 30,
    SigningKeysWorld: 30,
}
