"""Lambda functions behind the stack's `Custom::…` resource types.

One module per type (`gateway_target`, `edge_web_acl` and so on), each with a `handler(event, context)`;
`lifecycle` speaks CloudFormation's protocol for all of them.
"""
