"""`mesh chaos`: a mesh of its own under random kills and venue faults, then judged. plan → sweep_mesh → figures → verdict."""
