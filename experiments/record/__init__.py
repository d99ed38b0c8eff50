"""Recorded results: which there are, whether they are current, how they are made, and the pages that quote them."""
