"""What a case produced: files between stages, encoded objects, and the ledger of which result replaced which."""
