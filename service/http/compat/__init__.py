"""Other products' APIs, mapped to ours: what CompreFace 1.2 and Amazon Rekognition callers send and expect.

The routes are in `service.http.routes.compreface` and `service.http.routes.rekognition`; here is what they share. They
are served only where FACE_COMPAT names them, and their rows stand in the same table of endpoints as ours.
"""

from typing import Any

JsonObject = dict[str, Any]
"""A part of an answer as another product's callers read it: names and values are that product's."""
