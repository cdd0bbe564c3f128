"""`mesh chaos`: a mesh of its own under random kills and venue faults, then judged. plan → field → figures → verdict."""
