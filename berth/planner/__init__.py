"""From what is wanted and what is known to a plan: pure functions, nothing is touched."""
