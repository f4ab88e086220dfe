"""What manufacturers add: one module for each, with its commands and its system info parameters."""
