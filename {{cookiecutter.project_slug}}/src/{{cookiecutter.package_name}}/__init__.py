"""An MCP server: `settings` says how it runs, `tools` what it offers, `app` puts both together."""

import os

# FastMCP reads these when it is imported: its own log format would break the JSON lines, and a stray `.env`
# in the working directory must not configure a server.
os.environ["FASTMCP_LOG_ENABLED"] = "false"
os.environ["FASTMCP_ENV_FILE"] = os.devnull
