"""The sockets and files of the local venue."""
