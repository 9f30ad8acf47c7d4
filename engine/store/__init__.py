"""Results on disk: an append-only journal, and an HDF5 file that is always published whole."""
