"""Stages that change or add rows, and that make tensors of them."""
