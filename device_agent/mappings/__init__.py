"""Mapping files: what the columns of known recordings mean. One TOML file per kind, chosen by the column names."""
