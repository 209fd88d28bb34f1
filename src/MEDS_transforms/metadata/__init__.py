"""Stages that make code metadata."""
