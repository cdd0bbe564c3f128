"""Level-2 books as arrays: rebuilt at any moment, streamed through a kernel, sampled at an interval."""
