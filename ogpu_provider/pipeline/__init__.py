"""The path of a task, from a block to a payment. Imports the domain and its own ports, nothing else."""
