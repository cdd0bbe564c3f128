"""The gateway: recent events over REST and websockets, for people and programs."""
