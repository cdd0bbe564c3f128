"""tickmesh: an entry-level high-frequency trading mesh for crypto venues."""
