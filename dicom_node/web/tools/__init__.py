"""What a physicist and a PACS administrator reach for: rules on trial, peers, charts, models, audit trail, log."""
