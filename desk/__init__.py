"""Pure judgement of the desk: no socket, no clock, no file, no thread, no chance."""
