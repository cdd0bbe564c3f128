"""What `mesh doctor` looks at: facts of machine, installation and folder, and what is judged of them."""
