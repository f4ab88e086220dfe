"""The racadm shell of a Dell node: its SSH door and its link to the BMC. A process of its own."""
