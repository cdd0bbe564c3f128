"""Delivers alerts to the receivers of mesh.toml."""
