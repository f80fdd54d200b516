"""What all processes of a node know of its self-test: which series it sent, and whether processing is stopped."""
