"""The audit trail: who did what with which study, as messages of PS3.15 A.5, in a chained file and by syslog."""
