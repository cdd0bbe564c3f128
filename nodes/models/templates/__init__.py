"""Models to begin from: `mesh new-model` copies one into the folder models/. Each works as it is, and earns nothing."""
