"""What a person calls at the desk: everything that was recorded, as numpy, pandas, polars, Arrow or SQL. No process runs it."""
