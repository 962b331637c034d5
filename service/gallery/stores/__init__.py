"""Where collections lie: SQLite on one machine, Redis when shared."""
