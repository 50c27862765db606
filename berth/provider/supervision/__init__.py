"""Long-running services on a host, under systemd or supervisord, started by one small script."""
