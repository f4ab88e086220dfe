"""What the racadm shell of a Dell node says: pure, made of the node and of what its BMC answers."""
