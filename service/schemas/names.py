"""Closed sets of words that requests, responses and the rooms behind them share. Imports nothing of the service."""

from __future__ import annotations

from typing import Literal

Mode = Literal["media", "median", "quality"]
"""How the media of a subject are pooled into its template."""

Score = Literal["tpe", "cosine"]
"""What a model compares: projected vectors (triplet probabilistic embedding), or descriptors as they are."""

Role = Literal["analyze", "verify", "enrol", "templates", "admin"]
"""What an API key permits; `admin` includes the others.

`analyze`: find faces in photos. `verify`: compare and search with photos. `enrol`: change subjects. `templates`: send
vectors of one's own to what compares and searches. `admin`: everything, with collections, keys, export and import.
"""
