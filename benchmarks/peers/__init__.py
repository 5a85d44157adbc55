"""The libraries neucf is measured beside, each in a virtual environment of its own."""
