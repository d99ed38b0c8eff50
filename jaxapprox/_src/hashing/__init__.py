"""Asymmetric locality-sensitive hashing: tables, active sets, their diagnostics, active units."""
