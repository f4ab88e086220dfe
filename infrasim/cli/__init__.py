"""The command line: parse, call one verb, print, pick the exit code."""
