"""CT as it comes: files of one series, in any order and encoding, to a `CtVolume`, or the reason why not."""
