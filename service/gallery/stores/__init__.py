"""Where collections are stored: SQLite on one machine, Redis for several."""
