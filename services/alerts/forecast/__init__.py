"""Remaining life of a filter: its course so far against the courses of earlier filters of its model."""
