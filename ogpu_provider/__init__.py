"""Provider daemon for the OpenGPU network."""

__version__ = "0.1.0"
