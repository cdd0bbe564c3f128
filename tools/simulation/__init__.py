"""The executor's step and the local exchange's matching in one process and in simulated time: no socket, no file, no clock."""
