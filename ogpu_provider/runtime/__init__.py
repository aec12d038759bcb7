"""Other people's containers: the gate for compose files, the engine, projects, results posted back."""
