"""Signal processing that knows no flow."""
