"""Lambda functions behind the stack's `Custom::…` resource types.

One module per type (`gateway_target`, `container_image`, `emptied`), each with a `handler(event, context)`;
`lifecycle` speaks CloudFormation's protocol for all of them.
"""
