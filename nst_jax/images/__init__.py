"""Images as arrays: reading, writing, resizing, colors, masks."""
