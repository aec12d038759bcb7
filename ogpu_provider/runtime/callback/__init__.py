"""Where sources' containers post their results."""
