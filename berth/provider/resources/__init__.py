"""Typed resource classes for components, one for each operation; modules go by who declares them."""
