"""Datasets as arrays: downloaded, read, checked, split."""
