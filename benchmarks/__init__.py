"""Benchmarks: each prints one table and appends its rows to a JSON-lines file. See README.md here."""
