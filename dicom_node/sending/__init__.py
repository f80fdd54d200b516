"""Delivery of a case's objects to one destination, to the last confirmed instance."""
