"""The terminal's commands, in processes of their own, against the real server and against scripted ones."""
