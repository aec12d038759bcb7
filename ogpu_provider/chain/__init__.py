"""Facts in, transactions out."""
