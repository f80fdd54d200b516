"""What happens now: every case that is here, quickly found, and how the node is; live in every browser that looks."""
