"""What people decide about cases and say of results, kept with each case; and edited structure sets that return."""
