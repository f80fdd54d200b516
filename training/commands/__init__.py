"""What `perfnode` can do for the study: commands that the command line of the node takes up by their entry points."""
