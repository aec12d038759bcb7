"""The Tasks API: the network over plain HTTP, as a client with a key and a database of its own."""
