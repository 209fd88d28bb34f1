"""Stages that drop rows."""
