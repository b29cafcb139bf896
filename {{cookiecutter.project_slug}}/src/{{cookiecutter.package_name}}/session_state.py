"""Session state whose store is loaded when a tool first keeps something in it.

FastMCP looks into the store at every tool call, for rules on which tools a session sees. The default store
takes 400 modules: every process' first call would wait for their import, 0.7 seconds on a quarter of a vCPU.
"""

from typing import Any

from fastmcp import FastMCP


class EmptyState:
    """Stands in for a server's store while nothing was kept in it: everything is missing from it."""

    def __init__(self, server: "StateOnDemand") -> None:
        self._server = server

    async def get(self, key: str, **options: Any) -> Any:
        """Return what is kept under a key, or None."""
        return await self._server.loaded_state.get(key, **options) if self._server.keeps_state else None

    async def delete(self, key: str, **options: Any) -> bool:
        """Forget a key; returns whether something was kept under it."""
        kept = self._server.keeps_state
        return kept and bool(await self._server.loaded_state.delete(key, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server.loaded_state, name)


class StateOnDemand(FastMCP[None]):
    """A server that loads its store of session state when it is first written to."""

    @property
    def keeps_state(self) -> bool:
        """Whether there is a store: one that was given, or the default one once it is used."""
        return self._state_storage is not None

    @property
    def loaded_state(self) -> Any:
        """The store itself."""
        return super()._state_store

    @property
    def _state_store(self) -> Any:
        return self.loaded_state if self.keeps_state else EmptyState(self)
