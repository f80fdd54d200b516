"""Processes of the operating system: kept alive, ended with all their children, named by their role."""
