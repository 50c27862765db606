"""The Envoy of the gateway's own tests."""

from tests.gateway.conftest import envoy

__all__ = ["envoy"]
