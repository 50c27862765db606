"""Docker on a host, through its own command line over the host's one connection: no tunnel, no second login."""
