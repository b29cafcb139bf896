"""Servers of other make that answer the same call, and the generated one with more tools."""
