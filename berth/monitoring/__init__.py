"""From a plan to what watches it: scrape targets, alert rules and dashboards, in the pinned engines' own names."""

from berth.monitoring.dashboards import dashboards
from berth.monitoring.rules import rules
from berth.monitoring.targets import configuration

__all__ = ["configuration", "dashboards", "rules"]
