"""Clusters as the provider sees them: a connection, what is there, and why something does not come up."""
