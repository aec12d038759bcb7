"""Talking to the daemon while it runs: a socket in its data directory, what it answers there, what that means."""
