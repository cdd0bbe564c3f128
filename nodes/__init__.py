"""The processes, each a folder of its name, and what several of them share."""
