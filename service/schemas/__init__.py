"""Pydantic models of requests and responses: the HTTP edge and its OpenAPI document."""
