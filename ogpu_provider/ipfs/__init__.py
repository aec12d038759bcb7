"""Content by address: URLs that others chose, CIDs, and publishing."""
