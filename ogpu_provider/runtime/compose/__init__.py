"""The gate: an untrusted compose file goes in, our own plan or its violations come out. No I/O, no clock."""
