"""What runs withstand, tried many times."""
