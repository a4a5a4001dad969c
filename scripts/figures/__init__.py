"""Make the pictures of the documentation."""
