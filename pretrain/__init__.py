"""pretrain: self-supervised encoders from a person's own unlabelled scans.

Built on wsseg and never imported by its core; the two meet in an encoder folder (`wsseg.encoder`).
"""
