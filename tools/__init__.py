"""The commands: `mesh` and `tap`, each in the file of its name. They read what processes write, and tell processes nothing."""
