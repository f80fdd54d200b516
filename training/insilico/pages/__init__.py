"""A page of pictures of one patient."""
