"""One case as a person reads it: what was received, what became of it, what was found, and who has it now."""
