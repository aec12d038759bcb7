"""Nouns of the network and of this daemon; standard library only."""
