"""An MCP server that knows nothing of Stytch: it believes what the gateway says of its callers.

Says its port on the first line.
"""

import socket

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("reports")


@server.tool()
async def whoami(ctx: Context) -> dict[str, str]:
    """The identity headers of this very call."""
    headers = ctx.headers or {}
    return {name: value for name, value in headers.items()
            if name.startswith("x-stytch-") or name == "authorization"}


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="warning")).run(sockets=[listener])
