"""IPMI over LAN: packets, cipher suites, sessions, and what arrives at the BMC's UDP port."""
