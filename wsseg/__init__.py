"""wsseg: segmentation from cheap hints."""
