"""The routes of the Tasks API and of its page, one module a kind of object."""
