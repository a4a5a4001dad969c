"""Pictures as arrays: reading, writing, resizing, colours, masks."""
