"""Exit codes of nodes, as supervisord's table, its sentinels and the commands know them; 0 is: there is nothing to do."""

STOPPED_EXIT = 70  # it ended for good, of what would be the same at every start (EX_SOFTWARE of sysexits.h): it stays EXITED
