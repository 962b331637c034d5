"""Requests that the service itself makes: photos fetched by URL and webhooks."""
