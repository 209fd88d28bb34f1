"""Stages of our own for MEDS_transforms."""
