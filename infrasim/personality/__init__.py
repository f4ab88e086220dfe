"""What a simulated server is: sensors, inventory, management controllers and SMBIOS, as data.

A server type is a folder of YAML. ``registry`` finds and reads it, ``compiler`` turns it with one
node's identity into the text ``ipmi_sim`` loads and the SMBIOS structures QEMU shows its guest.
``importer`` goes the other way, from a capture of a real machine to such a folder. Pure: nothing
here starts a process or opens a socket.
"""
