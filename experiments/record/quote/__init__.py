"""What README and docs quote of the records: tables between markers, and numbers in prose."""
