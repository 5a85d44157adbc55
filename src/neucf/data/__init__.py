"""From a source to interactions and splits."""
