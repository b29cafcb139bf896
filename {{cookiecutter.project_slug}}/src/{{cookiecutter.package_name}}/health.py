"""`GET /health`: what load balancers and container health checks ask."""

from starlette.requests import Request
from starlette.responses import JSONResponse

HEALTH_PATH = "/health"


async def health(_request: Request) -> JSONResponse:
    """Answer 200 with `{"status": "healthy"}` as soon as the process serves requests."""
    return JSONResponse({"status": "healthy"})
