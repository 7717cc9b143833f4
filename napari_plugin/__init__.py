"""The napari plugin: hints are painted in ordinary layers, and a network trains on them as one looks on."""
