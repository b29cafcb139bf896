"""The official MCP conformance suite, run against the generated server with the suite's test tools in it."""
