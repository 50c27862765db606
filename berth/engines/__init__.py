"""One module per engine: how it starts, what it is told, when it is ready, what its failures mean."""
