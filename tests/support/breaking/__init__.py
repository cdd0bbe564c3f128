"""Stops writers inside their writes, makes their calls fail, and cuts the power: from outside, no product code knows of it.

watch.py    counts, stops, fails and records the calls that change files
stops.py    runs a writer once for each of its calls, stopped or failing there, and once more to the end
runs.py     the writers: log, sequencer, recorder, checkpoint, outbox; what they must have kept
disk.py     what a disk may hold when the power goes
armed.py    a whole node process under a watch
"""
