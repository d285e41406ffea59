"""What is sent to compute nodes: standard library only, packed as zipapps."""
