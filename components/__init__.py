"""Pulumi components: a part of the plan in, resources out."""
