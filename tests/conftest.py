"""For all tests: how fast this machine is at the moment is no property of the code."""

from hypothesis import HealthCheck, settings

settings.register_profile("berth", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("berth")
