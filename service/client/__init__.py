"""The Python client of the HTTP API, blocking and asyncio."""

from service.client.client import AsyncClient, Client, FaceError, Photo, Photos, Probe, Template

__all__ = ["AsyncClient", "Client", "FaceError", "Photo", "Photos", "Probe", "Template"]
