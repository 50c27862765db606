"""Facts as data, each with its origin: GPUs, drivers, engine versions, model shapes."""
