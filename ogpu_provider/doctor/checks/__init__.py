"""One check in each file; the file's name is its id. `registry.py` finds them."""
