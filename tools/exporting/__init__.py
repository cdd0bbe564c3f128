"""What was recorded, written as other programs of the field load it: the rows of each, and nothing of files but their bytes."""
