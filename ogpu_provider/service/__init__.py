"""The daemon as a service: of systemd, or in a container of its own."""
