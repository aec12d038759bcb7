"""From a bare host to a registered provider, in steps that ask the world what is done already."""
