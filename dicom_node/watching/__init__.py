"""Is the node well? Checks, metrics, alerts, the status page and the watchdog."""
