"""The `berth` Pulumi provider: connections to hosts and idempotent operations on them."""
