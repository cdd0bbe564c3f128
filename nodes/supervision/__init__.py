"""What supervisord and supervisorctl load of ours: groups of processes, each of which can be changed by itself."""
