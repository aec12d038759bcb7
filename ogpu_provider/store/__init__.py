"""What we intended and what came of it: one SQLite file, and its twin in memory."""
