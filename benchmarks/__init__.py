"""Programs that measure; they print figures and assert nothing."""
