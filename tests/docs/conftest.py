"""The running service and the photos of the browser's tests, for the calls that the documents show."""

from tests.shipped import photos, service_url

__all__ = ["photos", "service_url"]
