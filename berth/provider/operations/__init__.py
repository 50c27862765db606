"""What can be declared on a host: one short module for each operation."""
