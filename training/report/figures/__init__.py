"""The pictures of the report: one file each, drawn from plain numbers as small PNG; equal numbers give equal bytes."""
