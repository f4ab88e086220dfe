"""Programs infrasim drives: what is needed, where it comes from, download, verify, install."""
