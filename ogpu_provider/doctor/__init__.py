"""Checks of the host, one file each, with what a failure means, what to do, and a fix where that is safe."""
