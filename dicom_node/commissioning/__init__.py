"""Does the node still answer as it did? Reference sets, control charts, and the self-test through the real port."""
