"""What the sentinel is made of: what the log says of the living (heard), what is wrong (judge), what is done about it
(restarts), and who dies in a loop (deaths). No I/O.
"""
